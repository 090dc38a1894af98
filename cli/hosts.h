// Which hosts a job has, what each is for, and which of them this is: the flags of `closeranks run`
// that say so.
#ifndef CLOSERANKS_CLI_HOSTS_H_
#define CLOSERANKS_CLI_HOSTS_H_

#include "base/status.h"
#include "closeranks/environment.h"
#include "rendezvous/discovery.h"

namespace closeranks::cli {

struct Hosts {
  rendezvous::Whereabouts where;  // of all
  int count = 1;                  // of all
  int starting = 1;               // so many make the first generation
  int least = 1;                  // with fewer nothing is trained
  int most = 1;                   // so many train, the lowest that are there
  int spares = 0;                 // beyond those
  int index = 0;                  // of this one
  bool are_several = false;       // --hosts is given, and says where they are
  bool is_witness = false;        // this one
  // The first of them; the others are witnesses.
  int WithWorkers() const { return most + spares; }
};

// From the flags, and the environment where they don't say it; each host has so many `workers`.
// `listens_by_flag`: where this one listens is given. kInvalidArgument names the flag or variable,
// its value and what is expected.
Result<Hosts> ParseHosts(const Environment& environment, int workers, bool listens_by_flag);

}  // namespace closeranks::cli

#endif  // CLOSERANKS_CLI_HOSTS_H_
