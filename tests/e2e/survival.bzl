"""One test target for each way of losing ranks, so that each is counted and can be run alone."""

_CASES = {
    "undisturbed": ["--ranks=4"],
    "rank_0_killed": ["--ranks=4", "--kill=0"],
    "rank_1_killed": ["--ranks=4", "--kill=1"],
    "rank_2_killed": ["--ranks=4", "--kill=2"],
    "rank_3_killed": ["--ranks=4", "--kill=3"],
    "ranks_0_and_1_killed_at_once": ["--ranks=4", "--kill=0,1"],
    "ranks_2_and_3_killed_at_once": ["--ranks=4", "--kill=2,3"],
    "rank_0_of_2_killed": ["--ranks=2", "--kill=0"],
    "rank_0_killed_over_tcp": ["--ranks=4", "--kill=0", "--transport=tcp"],
    "killed_rank_rejoins": ["--ranks=4", "--kill=0", "--rejoin"],
    "program_alone": ["--alone"],
    "exact_mode_has_the_same_bits": ["--exact"],
}

def survival_tests():
    for name, args in _CASES.items():
        for full in [False, True]:
            native.sh_test(
                name = name + ("_full" if full else "") + "_test",
                size = "large" if full else "medium",
                srcs = ["survival_test.py"],
                args = args + (["--full"] if full else []),
                data = [
                    "fashion_mnist_part.py",
                    "//cli:closeranks",
                    "//examples/fashion_mnist",
                ],
                tags = ["e2e", "exclusive", "no-sanitizers"] + (["full"] if full else []),
            )
