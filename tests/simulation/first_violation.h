// What comes of the first violation that a simulation finds. Of code with a planted mistake it is
// to be one that the mistake explains: a false alarm of the simulation would find every mistake.
#ifndef CLOSERANKS_TESTS_SIMULATION_FIRST_VIOLATION_H_
#define CLOSERANKS_TESTS_SIMULATION_FIRST_VIOLATION_H_

#include <string>

namespace closeranks::simulation {

// --expect_violation was given: the code under test has a mistake planted.
bool ExpectsViolation();
// The exit code of a program that found this: 0 if it is the expected one.
int ExitCodeOf(const std::string& violation);
// The same of a whole run without any.
int ExitCodeOfNone();

// A failed CHECK, of the code's or of the simulation's own, is a violation too, whose text is
// "FILE: Check failed: ...": from now on `on_violation` is called with it, and its result ends the
// process.
void EndByFailedCheck(int (*on_violation)(const std::string& violation));

}  // namespace closeranks::simulation

#endif  // CLOSERANKS_TESTS_SIMULATION_FIRST_VIOLATION_H_
