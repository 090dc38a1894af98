"""Mistakes planted in elastic steps, to show that the simulation of whole jobs finds them."""

# Each is a define, CLOSERANKS_PLANT_ and this, in one source.
PLANTED_MISTAKES = {
    "answer_during_update": "step_gate.cc",
    "end_without_the_state": "step_gate.cc",
    "joined_mid_step": "step_loop_transfer.cc",
    "line_left_open": "peer_connections.cc",
    "record_before_stable": "ledger.cc",
    "records_not_sent": "step_loop_transfer.cc",
    "torn_sums_kept": "step_loop_world.cc",
    "undone_record_kept": "ledger.cc",
}
