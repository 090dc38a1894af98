#include "elastic/worker.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <utility>

#include "collectives/native_communicator.h"
#include "elastic/thread_stack.h"
#include "glog/logging.h"
#include "net/link.h"
#include "net/system_socket.h"

namespace closeranks::elastic {
namespace {

constexpr Duration kWelcomeLimit = std::chrono::seconds(30);
// Of an agent, to who is about to end.
constexpr Duration kAnswerLimit = std::chrono::seconds(1);
// The others take a step over so long before the leaver's time is up, or half of that time.
constexpr Duration kTimeToTakeOver = std::chrono::seconds(2);
// For a disk with credentials that hangs, at this worker's end.
constexpr Duration kDiskPatience = std::chrono::seconds(1);
// How long a stuck thread gets to tell its stack.
constexpr Duration kStackPause = std::chrono::milliseconds(20);
constexpr int kStackAttempts = 50;

Status EndStatus(const rendezvous::Ended& ended) {
  switch (ended.exit_code) {
    case ExitCode::kOk:
      return OkStatus();
    case ExitCode::kLeft:
      return Aborted("this worker was told to leave, and has left");
    case ExitCode::kReplaced:
      return StaleGeneration("this process was replaced: " + ended.reason);
    case ExitCode::kMismatch:
      return Mismatch(ended.reason);
    case ExitCode::kJoinTimeout:
      return Timeout(ended.reason);
    default:
      return Unavailable(ended.reason);
  }
}

}  // namespace

Worker::Worker(Options options, Platform& platform)
    : options_(std::move(options)),
      platform_(platform),
      clock_(platform.clock()),
      process_{-1, Incarnation::Draw(platform.random())},
      gate_(rendezvous::WorkerState{}, platform.MakeCondition()),
      answered_(platform.MakeCondition()),
      lifelines_(platform.MakeLifelines()),
      flight_(clock_, process_.incarnation, platform.flight_kind()),
      engine_(clock_, {.spin = platform.spin(), .flight = &flight_},
              platform.MakeDescriptorWatch()),
      loop_thread_(platform.StartLoopThread("elastic")) {
  engine_.SetOnPeerLost([this](const MemberProcess& peer, const Status& why) {
    TimePoint now = clock_.Now();
    loop_thread_->RunInLoop([this, peer, why, now] {
      if (detected_ == TimePoint{}) detected_ = now;
      if (connections_ != nullptr) connections_->OnPeerLost(peer, now);
      OnPeerLost(peer, why);
    });
  });
  progress_thread_ = platform.StartProgressThread(engine_);
}

Result<std::unique_ptr<Worker>> Worker::Start(std::unique_ptr<net::Socket> agent_socket,
                                              Options options, Platform& platform) {
  std::unique_ptr<Worker> worker(new Worker(std::move(options), platform));
  auto set_start = [raw = worker.get()](Status status) {
    std::lock_guard lock(raw->mutex_);
    if (!raw->start_.has_value()) raw->start_ = std::move(status);
    raw->answered_->NotifyAll();
  };
  worker->loop_thread_->RunAndWait([&, raw = worker.get()] {
    rendezvous::WorkerSession::Handlers handlers;
    handlers.on_welcome = [raw, set_start](const rendezvous::Welcome& welcome) {
      raw->welcome_ = welcome;
      raw->process_.member = welcome.member;
      raw->flight_.SetMember(welcome.member);
      set_start(OkStatus());
    };
    handlers.on_freeze = [raw](const rendezvous::Freeze& freeze) { raw->OnFreeze(freeze); };
    handlers.on_install = [raw](const rendezvous::Install& install) { raw->OnInstall(install); };
    handlers.on_ended = [raw, set_start](const rendezvous::Ended& ended) {
      raw->OnEnded(ended);
      set_start(Unavailable(ended.reason));
    };
    handlers.on_data_connection = [raw](const rendezvous::DataConnection&,
                                        std::unique_ptr<net::Socket> connection) {
      if (raw->connections_ != nullptr) raw->connections_->Accept(std::move(connection));
    };
    handlers.on_lost = [](const rendezvous::Lost& lost) {
      LOG(WARNING) << "member " << lost.member << " is lost: its worker "
                   << (lost.is_said ? "failed for good, as its own line says" : lost.cause);
    };
    handlers.on_failing_heard = [raw](const rendezvous::FailingHeard& heard) {
      std::lock_guard lock(raw->mutex_);
      raw->first_to_fail_ = heard.first;
      raw->answered_->NotifyAll();
    };
    handlers.on_noticed = [](const rendezvous::Noticed& noticed) {
      LOG(WARNING) << "member " << noticed.member << " " << noticed.text;
    };
    handlers.on_leave = [raw](const rendezvous::Leave& leave) { raw->OnLeave(leave); };
    auto link = std::make_unique<net::Link>(raw->loop_thread_->loop(), std::move(agent_socket));
    raw->session_ = std::make_unique<rendezvous::WorkerSession>(
        raw->loop_thread_->loop(), std::move(link), raw->process_.incarnation,
        raw->options_.agent_timeout, std::move(handlers));
    for (const auto& lifeline : raw->lifelines_) {
      raw->session_->Send(rendezvous::LifelineEnd{},
                          std::make_unique<net::SystemSocket>(lifeline->TakeReadEnd()));
    }
    if (UniqueFd memory = raw->flight_.Share()) {
      raw->session_->Send(rendezvous::FlightMemory{},
                          std::make_unique<net::SystemSocket>(std::move(memory)));
    }
    raw->WatchLeaveSignal();
  });
  RETURN_IF_ERROR(worker->AwaitWelcome());
  return worker;
}

Status Worker::AwaitWelcome() {
  const TimePoint limit = clock_.Now() + kWelcomeLimit;
  std::unique_lock lock(mutex_);
  while (!start_.has_value()) {
    if (clock_.Now() >= limit) return Timeout("the supervisor doesn't answer");
    answered_->Wait(lock, limit);
  }
  return *start_;
}

Worker::~Worker() {
  // On the loop, whose next event may be a new world: the open one has to go before the engine
  // does, and none may open after it. What is posted later finds neither session nor connections.
  loop_thread_->RunAndWait([this] {
    loop_thread_->loop().Cancel(leave_limit_);
    loop_thread_->loop().Cancel(watch_);
    if (options_.leave_signal != nullptr) {
      loop_thread_->loop().Unwatch(options_.leave_signal->fd());
    }
    gate_.End(Aborted("the worker ends"));
    if (session_ != nullptr) session_->Send(rendezvous::Goodbye{});
    session_.reset();
    connections_.reset();
    network_.reset();
    credentials_.reset();
  });
}

Status Worker::Join(const std::string& configuration) {
  return loop_thread_->RunAndWait([&, caller = ThisThread()]() -> Status {
    network_ = platform_.MakeNetwork(loop_thread_->loop());
    PeerConnections::Options options;
    options.self = {welcome_.job, process_, {options_.build, options_.kernels, configuration}};
    const rendezvous::Terms terms = options.self.terms;
    if (terms.bytes() > rendezvous::kMaxTermsBytes) {
      return InvalidArgument("the configuration that all workers must share has " +
                             std::to_string(terms.bytes()) + " bytes, expected at most " +
                             std::to_string(rendezvous::kMaxTermsBytes));
    }
    std::unique_ptr<net::Background> background;
    if (welcome_.security.has_files()) {
      background = platform_.StartBackground("credentials", kDiskPatience);
    }
    ASSIGN_OR_RETURN(credentials_,
                     rendezvous::Credentials::Open(loop_thread_->loop(), platform_.files(),
                                                   welcome_.security, std::move(background)));
    options.credentials = credentials_.get();
    options.shared_memory = options_.shared_memory;
    options.only_shared_memory = options_.only_shared_memory;
    options.data_address = welcome_.data_address;
    options.host = platform_.host();
    ASSIGN_OR_RETURN(connections_, PeerConnections::Open(loop_thread_->loop(), *network_, engine_,
                                                         platform_.random(), std::move(options)));
    session_->Send(rendezvous::Ready{connections_->Card(), terms, gate_.state()});
    training_thread_ = caller;
    patience_ = options_.step_timeout;
    if (patience_ > Duration::zero()) WatchTrainingThread();
    return OkStatus();
  });
}

void Worker::ReportFailure(Generation generation, const Status& why) {
  loop_thread_->RunInLoop([this, generation, why] {
    MemberProcess suspect;
    std::optional<int> rank = why.suspected_rank();
    if (generation == world_.generation && rank.has_value() && *rank < world_.size()) {
      suspect = world_.ranks[*rank];
    }
    SendFailure(generation, suspect, why);
  });
}

void Worker::ReportDone() {
  loop_thread_->RunInLoop([this] { Send(rendezvous::Done{}); });
}

void Worker::ReportProgress(const rendezvous::Progress& progress) {
  if (welcome_.progress_is_wanted) loop_thread_->RunInLoop([this, progress] { Send(progress); });
}

void Worker::ReportEntered(Generation generation) {
  loop_thread_->RunInLoop([this, generation] { Send(rendezvous::Entered{generation}); });
}

bool Worker::leaves() const {
  return told_to_leave_ || (options_.leave_signal != nullptr && options_.leave_signal->came());
}

void Worker::ReportLeaving() {
  loop_thread_->RunInLoop([this] { Send(rendezvous::Leaving{.now = true}); });
}

std::optional<MemberId> Worker::ReportFailing(const std::string& cause, bool is_final) {
  loop_thread_->RunAndWait([&] { Send(rendezvous::Failing{cause, is_final}); });
  if (!is_final) return std::nullopt;
  const TimePoint limit = clock_.Now() + kAnswerLimit;
  std::unique_lock lock(mutex_);
  while (!first_to_fail_.has_value() && clock_.Now() < limit) answered_->Wait(lock, limit);
  const MemberId first = first_to_fail_.value_or(-1);
  return first < 0 || first == process_.member ? std::nullopt : std::optional(first);
}

void Worker::ReportSlow(StepNumber step, double factor) {
  std::array<char, 128> text;
  std::snprintf(text.data(), text.size(),
                "is slow: it takes %.2f times as long as the others for a sample, as of step %llu",
                factor, static_cast<unsigned long long>(step));
  loop_thread_->RunInLoop(
      [this, notice = rendezvous::Notice{.text = text.data()}] { Send(notice); });
}

void Worker::WatchTrainingThread() {
  StepNumber step = 0;
  TimePoint since{};
  const telemetry::Activity activity = flight_.activity(&step, &since);
  const TimePoint now = clock_.Now();
  const bool is_programs = activity == telemetry::Activity::kComputing ||
                           activity == telemetry::Activity::kApplying ||
                           activity == telemetry::Activity::kBetween;
  if (is_programs && now - since >= patience_ && since != stuck_since_) {
    stuck_since_ = since;
    const std::string what =
        "is stuck: it " + std::string(telemetry::ActivityText(activity)) + ", in step " +
        std::to_string(step) + ", since " +
        std::to_string(std::chrono::duration_cast<std::chrono::seconds>(now - since).count()) +
        " s";
    patience_ *= 2;
    AskForStack(training_thread_);
    TellStack(what, kStackAttempts);
  }
  watch_ =
      loop_thread_->loop().RunAfter(options_.step_timeout / 8, [this] { WatchTrainingThread(); });
}

void Worker::TellStack(const std::string& what, int attempts) {
  const std::optional<std::string> stack = TakeStack();
  if (!stack.has_value() && attempts > 0) {
    loop_thread_->loop().RunAfter(kStackPause,
                                  [this, what, attempts] { TellStack(what, attempts - 1); });
    return;
  }
  if (!stack.has_value()) GiveUpStack();
  const std::string where = stack.has_value()
                                ? "; its stack:\n" + *stack
                                : "; it doesn't tell its stack, as if it waited in the kernel";
  Send(rendezvous::Notice{what + where, /*hangs=*/true});
}

void Worker::WatchLeaveSignal() {
  if (options_.leave_signal == nullptr) return;
  const int fd = options_.leave_signal->fd();
  Status watched = loop_thread_->loop().Watch(fd, {.readable = true}, [this, fd](net::Ready) {
    loop_thread_->loop().Unwatch(fd);
    OnToldToLeave();
    // It hasn't asked to be let in: nobody waits for what it does, which may take long.
    if (network_ == nullptr) options_.leave_signal->EndProcess();
  });
  LOG_IF(WARNING, !watched.ok()) << "SIGTERM is noticed between steps only: " << watched;
}

void Worker::OnToldToLeave() {
  if (told_to_leave_.exchange(true)) return;
  // Who takes no part yet has nothing to hand over.
  const bool at_once = world_.generation == 0;
  LOG(INFO) << "told to leave" << (at_once ? "" : ": finishing the step");
  Send(rendezvous::Leaving{.now = at_once});
}

void Worker::OnLeave(const rendezvous::Leave& leave) {
  OnToldToLeave();
  const Duration time = leave.grace - std::min(leave.grace / 2, kTimeToTakeOver);
  leave_limit_ = loop_thread_->loop().RunAfter(time, [this] {
    if (ended_) return;
    LOG(INFO) << "leaving in the middle of a step, as the time to leave is nearly up";
    Send(rendezvous::Leaving{.now = true});
  });
}

void Worker::OnFreeze(const rendezvous::Freeze& freeze) {
  if (detected_ == TimePoint{}) detected_ = clock_.Now();
  // A world that is still being connected must not open after the answer.
  if (connections_ != nullptr) connections_->GiveUp();
  // The answer may come from the training thread, at the end of an update.
  gate_.Shut(StaleGeneration("generation " + std::to_string(freeze.generation) + " is agreed on"),
             [this, generation = freeze.generation](rendezvous::WorkerState state) {
               auto answer = [this, generation, state] {
                 Send(rendezvous::Frozen{generation, state});
               };
               loop_thread_->OnLoop() ? answer() : loop_thread_->RunInLoop(answer);
             });
}

void Worker::OnInstall(const rendezvous::Install& install) {
  TimePoint decided = clock_.Now();
  VLOG(1) << "installing " << *install.decision;
  connections_->Connect(*install.decision,
                        [this, decision = install.decision, decided](
                            Result<std::vector<PeerConnections::SharedTransport>> transports) {
                          OnConnected(decision, decided, std::move(transports));
                        });
}

void Worker::OnConnected(rendezvous::DecisionRef decision, TimePoint decided,
                         Result<std::vector<PeerConnections::SharedTransport>> transports) {
  auto world = std::make_shared<ConnectedWorld>();
  world->decision = decision;
  world->world = decision->world();
  world->rank = world->world.RankOf(process_);
  if (welcome_.most_computing > 0) {
    world->spares = std::max(0, world->world.size() - welcome_.most_computing);
  }
  Status connected = transports.status();
  if (connected.ok()) {
    auto communicator = MakeCommunicator(*world, *std::move(transports));
    connected = communicator.status();
    if (connected.ok()) world->communicator = *std::move(communicator);
  }
  if (!connected.ok()) {
    if (connected.code() == StatusCode::kMismatch ||
        connected.code() == StatusCode::kInvalidArgument) {
      gate_.End(connected);
    } else {
      SendFailure(decision->generation, {}, connected);
    }
    return;
  }
  world->detected = std::exchange(detected_, TimePoint{});
  world->decided = decided;
  world->rewired = clock_.Now();
  world_ = world->world;
  flight_.EnterWorld(world_, world->rank);
  if (options_.on_world) options_.on_world(*world);
  gate_.Open(std::move(world));
}

Result<std::shared_ptr<Communicator>> Worker::MakeCommunicator(
    const ConnectedWorld& world, std::vector<PeerConnections::SharedTransport> transports) {
  // Whoever holds the communicator holds the transports that it uses.
  struct Holder {
    std::vector<PeerConnections::SharedTransport> transports;
    std::unique_ptr<Communicator> communicator;
  };
  auto holder = std::make_shared<Holder>();
  holder->transports = std::move(transports);
  std::vector<collectives::Transport*> pointers;
  for (const auto& transport : holder->transports) pointers.push_back(transport.get());
  NativeCommunicatorOptions options;
  options.communicator = options_.communicator;
  if (welcome_.pauses_are_ok) options.communicator.timeout = kForEver;
  ASSIGN_OR_RETURN(holder->communicator,
                   MakeNativeCommunicator(world.rank, world.world.size(), world.world.generation,
                                          engine_, pointers, clock_, options));
  return std::shared_ptr<Communicator>(holder, holder->communicator.get());
}

void Worker::OnEnded(const rendezvous::Ended& ended) {
  ended_ = true;
  exit_code_ = ended.exit_code;
  gate_.End(EndStatus(ended), ended.state);
}

void Worker::OnPeerLost(const MemberProcess& peer, const Status& why) {
  LOG_IF(WARNING, why.code() == StatusCode::kMismatch)
      << "member " << peer << " sent what it may not: " << why;
  SendFailure(world_.generation, peer, why);
}

void Worker::SendFailure(Generation generation, MemberProcess suspect, const Status& why) {
  // A world that is already replaced, or over, has nothing more to report.
  if (generation < world_.generation || ended_) return;
  // It was ended here, because the agent already asks for another.
  if (why.code() == StatusCode::kStaleGeneration) return;
  Send(rendezvous::Failure{generation, suspect, why.ToString(),
                           /*timed_out=*/why.code() == StatusCode::kTimeout});
}

void Worker::Send(const rendezvous::WorkerMessage& message) {
  if (session_ != nullptr) session_->Send(message);
}

}  // namespace closeranks::elastic
