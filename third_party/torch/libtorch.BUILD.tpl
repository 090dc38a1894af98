# The libraries are linked where they lie: a copy in Bazel's own tree would break the rpaths by
# which they find one another.
cc_library(
    name = "torch",
    hdrs = glob([
        "include/**/*.h",
        "include/**/*.hpp",
        "include/**/*.cuh",
    ]),
    # Bazel passes these as -isystem: their warnings aren't ours.
    includes = [
        "include",
        "include/torch/csrc/api/include",
    ],
    linkopts = [
        "-L{lib}",
        "-Wl,-rpath,{lib}",
        {rpath_link}
        "-Wl,--no-as-needed",
        "-ltorch",
        "-ltorch_cpu",
        "-lc10",
        "-Wl,--as-needed",
    ],
    visibility = ["//visibility:public"],
)
