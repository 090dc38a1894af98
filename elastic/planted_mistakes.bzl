"""Mistakes planted in elastic steps, to show that the simulation of whole jobs finds them."""

# Each is a define, CLOSERANKS_PLANT_ and this, in one source; and what it breaks, as the simulation
# says it (a regular expression).
PLANTED_MISTAKES = {
    "answer_during_update": struct(
        source = "step_gate.cc",
        found_by = "the run didn.t come to its end",
    ),
    "end_without_the_state": struct(
        source = "step_gate.cc",
        found_by = "other weights than an undisturbed run",
    ),
    "joined_mid_step": struct(
        source = "step_loop_transfer.cc",
        found_by = "has other weights than|workers that are all alike differ",
    ),
    "line_left_open": struct(
        source = "peer_connections.cc",
        found_by = "host . doesn.t come to an end",
    ),
    "record_before_stable": struct(
        source = "ledger.cc",
        found_by = "ledgers contradict",
    ),
    "records_not_sent": struct(
        source = "step_loop_transfer.cc",
        found_by = "samples were lost",
    ),
    "torn_sums_kept": struct(
        source = "step_loop_world.cc",
        found_by = "workers that are all alike differ",
    ),
    "undone_record_kept": struct(
        source = "ledger.cc",
        found_by = "ledgers contradict",
    ),
}
