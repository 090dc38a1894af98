"""A fuzzer that is also a test."""

def cc_fuzzer(name, srcs, deps = [], corpus = [], runs = 20000, max_bytes = 4096, tags = []):
    """Defines `name`, a test of kind fuzz, and `name`_binary, the fuzzer itself.

    `srcs` define LLVMFuzzerTestOneInput. Under --config=fuzz (clang) the test feeds it the corpus
    and `runs` mutations of it, always the same ones. In any other configuration it only feeds it
    the corpus, so that the fuzzers always compile.

    Args:
      name: of the test, such as frame_fuzzer.
      srcs: sources.
      deps: libraries.
      corpus: files to start from, each one input; add every input that once failed.
      runs: how many inputs are tried.
      max_bytes: the longest input.
      tags: besides "fuzz".
    """
    native.cc_binary(
        name = name + "_binary",
        testonly = True,
        srcs = srcs,
        linkopts = select({
            "//tools/bazel:fuzzing": ["-fsanitize=fuzzer"],
            "//conditions:default": [],
        }),
        deps = deps + select({
            "//tools/bazel:fuzzing": [],
            "//conditions:default": ["//tools/bazel:replay_corpus"],
        }),
    )
    native.sh_test(
        name = name,
        srcs = ["//tools/bazel:run_fuzzer.sh"],
        args = [
            "$(rootpath :%s_binary)" % name,
            "-runs=%d" % runs,
            "-max_len=%d" % max_bytes,
        ] + ["$(rootpath %s)" % file for file in corpus],
        data = [":%s_binary" % name] + corpus,
        tags = tags + ["fuzz"],
    )
