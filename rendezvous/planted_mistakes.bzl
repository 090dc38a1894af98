"""Mistakes that are planted in the protocol to show that the simulation finds them."""

# Each is a define, CLOSERANKS_PLANT_ and this, in these sources of :membership; and what it breaks,
# as the simulation says it (a regular expression).
PLANTED_MISTAKES = {
    "displaced_forgotten": struct(
        sources = ["membership_value.cc"],
        found_by = " lists .*, displaced in generation",
    ),
    "end_not_stored": struct(
        sources = ["membership_learner.cc"],
        found_by = "ends by it, and generation .* is stored by",
    ),
    "floor_ignored": struct(
        sources = ["membership_value.cc"],
        found_by = "membership_value.cc: Check failed: next.floor >= base.floor",
    ),
    "freeze_skipped": struct(
        sources = ["membership_voter.cc"],
        found_by = "undoes step .*, which was stable|on a worker that has not stopped",
    ),
    "generation_unchecked": struct(
        sources = ["membership_learner.cc"],
        found_by = "two values under ballot|listed with a worker that never stopped",
    ),
    "installed_before_stored": struct(
        sources = ["membership_learner.cc"],
        found_by = "takes it for installed, and generation .* is stored by",
    ),
    "joiner_counted_as_holder": struct(
        sources = ["membership_value.cc"],
        found_by = "undoes step .*, which was stable",
    ),
    "minimum_ignored": struct(
        sources = ["membership_learner.cc"],
        found_by = "of fewer than . hosts",
    ),
    "obligation_ignored": struct(
        sources = ["membership_drive.cc"],
        found_by = "two decisions",
    ),
    "promise_forgotten": struct(
        sources = ["membership_acceptor.cc"],
        found_by = "two decisions",
    ),
    "promise_withdrawn": struct(
        sources = ["membership_learner.cc"],
        found_by = "listed with a worker that never stopped",
    ),
    "quorum_off_by_one": struct(
        sources = ["decision.cc"],
        found_by = "takes it for installed, and generation .* is stored by|two decisions",
    ),
    "resume_by_step_alone": struct(
        sources = ["membership_value.cc"],
        found_by = "membership_value.cc: Check failed: next.floor >= base.floor",
    ),
    "terms_ignored": struct(
        sources = ["membership_value.cc"],
        found_by = "goes on with a mismatch",
    ),
    "votes_bound_to_members": struct(
        sources = [
            "decision.cc",
            "membership_drive.cc",
        ],
        found_by = "takes it for installed, and generation .* is stored by",
    ),
}
