"""Makes @torch from an installed libtorch: a torch wheel's folder or an unpacked archive."""

def _torch_repository(context):
    root = context.os.environ.get("CLOSERANKS_LIBTORCH", "")
    if not root:
        fail("No libtorch is known. Run tools/setup (or LIBTORCH=/path/to/libtorch tools/setup).")
    if not context.path(root + "/include/torch").exists:
        fail("CLOSERANKS_LIBTORCH=" + root + " has no include/torch. Run tools/setup again.")
    context.symlink(root + "/include", "include")
    context.symlink(root + "/lib", "lib")

    # A CUDA wheel's libraries need CUDA's, which lie beside torch in site-packages. They find one
    # another by their own rpaths when run; the linker has to be shown where they are.
    cuda = root + "/../nvidia/cu13/lib"
    rpath_link = ""
    if context.path(cuda).exists:
        rpath_link = '"-Wl,-rpath-link,' + str(context.path(cuda).realpath) + '",'
    context.template("BUILD.bazel", Label("//third_party/torch:libtorch.BUILD.tpl"), {
        "{lib}": str(context.path(root + "/lib").realpath),
        "{rpath_link}": rpath_link,
    })

torch_repository = repository_rule(
    implementation = _torch_repository,
    environ = ["CLOSERANKS_LIBTORCH"],
    local = True,
)
