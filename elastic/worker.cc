#include "elastic/worker.h"

#include <utility>

#include "collectives/native_communicator.h"
#include "glog/logging.h"
#include "net/link.h"
#include "net/system_socket.h"

namespace closeranks::elastic {
namespace {

// Two, so that at least one isn't the last thread to end.
constexpr int kLifelines = 2;
constexpr Duration kWelcomeLimit = std::chrono::seconds(30);

Status EndStatus(const rendezvous::Ended& ended) {
  switch (ended.exit_code) {
    case ExitCode::kOk:
      return OkStatus();
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

Worker::Worker(Options options, const Clock& clock, Random& random)
    : options_(std::move(options)),
      clock_(clock),
      random_(random),
      gate_(rendezvous::WorkerState{}),
      engine_(clock),
      loop_thread_(clock, "elastic") {
  process_.incarnation = Incarnation::Draw(random_);
  engine_.SetOnPeerLost([this](const MemberProcess& peer, const Status& why) {
    TimePoint now = clock_.Now();
    loop_thread_.RunInLoop([this, peer, why, now] {
      if (detected_ == TimePoint{}) detected_ = now;
      if (connections_ != nullptr) connections_->OnPeerLost(peer, now);
      OnPeerLost(peer, why);
    });
  });
  progress_thread_ = std::make_unique<collectives::ProgressThread>(engine_);
  for (int i = 0; i < kLifelines; ++i) {
    auto lifeline = Lifeline::Make();
    if (lifeline.ok()) {
      lifelines_.push_back(*std::move(lifeline));
    } else {
      LOG(INFO) << "this worker's death would be noticed later than it could: "
                << lifeline.status();
    }
  }
}

Result<std::unique_ptr<Worker>> Worker::Start(std::unique_ptr<net::Socket> agent_socket,
                                              Options options, const Clock& clock, Random& random) {
  std::unique_ptr<Worker> worker(new Worker(std::move(options), clock, random));
  auto set_start = [raw = worker.get()](Status status) {
    std::lock_guard lock(raw->mutex_);
    if (!raw->start_.has_value()) raw->start_ = std::move(status);
    raw->welcomed_.notify_all();
  };
  worker->loop_thread_.RunAndWait([&, raw = worker.get()] {
    rendezvous::WorkerSession::Handlers handlers;
    handlers.on_welcome = [raw, set_start](const rendezvous::Welcome& welcome) {
      raw->welcome_ = welcome;
      raw->process_.member = welcome.member;
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
    auto link = std::make_unique<net::Link>(raw->loop_thread_.loop(), std::move(agent_socket));
    raw->session_ = std::make_unique<rendezvous::WorkerSession>(
        raw->loop_thread_.loop(), std::move(link), raw->process_.incarnation,
        raw->options_.agent_timeout, std::move(handlers));
    for (const auto& lifeline : raw->lifelines_) {
      raw->session_->Send(rendezvous::LifelineEnd{},
                          std::make_unique<net::SystemSocket>(lifeline->TakeReadEnd()));
    }
  });
  std::unique_lock lock(worker->mutex_);
  if (!worker->welcomed_.wait_for(lock, kWelcomeLimit,
                                  [&] { return worker->start_.has_value(); })) {
    return Timeout("the supervisor doesn't answer");
  }
  Status start = *worker->start_;
  lock.unlock();
  RETURN_IF_ERROR(start);
  return worker;
}

Worker::~Worker() {
  // On the loop, whose next event may be a new world: the open one has to go before the engine
  // does, and none may open after it. What is posted later finds neither session nor connections.
  loop_thread_.RunAndWait([this] {
    gate_.End(Aborted("the worker ends"));
    if (session_ != nullptr) session_->Send(rendezvous::Goodbye{});
    session_.reset();
    connections_.reset();
    network_.reset();
    credentials_.reset();
  });
}

Status Worker::Join(const std::string& configuration) {
  return loop_thread_.RunAndWait([&]() -> Status {
    network_ = std::make_unique<net::SocketNetwork>(loop_thread_.loop());
    PeerConnections::Options options;
    options.self = {welcome_.job, process_, {options_.build, options_.kernels, configuration}};
    const rendezvous::Terms terms = options.self.terms;
    if (terms.bytes() > rendezvous::kMaxTermsBytes) {
      return InvalidArgument("the configuration that all workers must share has " +
                             std::to_string(terms.bytes()) + " bytes, expected at most " +
                             std::to_string(rendezvous::kMaxTermsBytes));
    }
    ASSIGN_OR_RETURN(credentials_,
                     rendezvous::Credentials::Open(loop_thread_.loop(), files_, welcome_.security));
    options.credentials = credentials_.get();
    options.shared_memory = options_.shared_memory;
    options.only_shared_memory = options_.only_shared_memory;
    options.data_address = welcome_.data_address;
    ASSIGN_OR_RETURN(connections_, PeerConnections::Open(loop_thread_.loop(), *network_, engine_,
                                                         random_, std::move(options)));
    session_->Send(rendezvous::Ready{connections_->Card(), terms, gate_.state()});
    return OkStatus();
  });
}

void Worker::ReportFailure(Generation generation, const Status& why) {
  loop_thread_.RunInLoop([this, generation, why] {
    MemberProcess suspect;
    std::optional<int> rank = why.suspected_rank();
    if (generation == world_.generation && rank.has_value() && *rank < world_.size()) {
      suspect = world_.ranks[*rank];
    }
    SendFailure(generation, suspect, why);
  });
}

void Worker::ReportDone() {
  loop_thread_.RunInLoop([this] { Send(rendezvous::Done{}); });
}

void Worker::ReportProgress(const rendezvous::Progress& progress) {
  loop_thread_.RunInLoop([this, progress] { Send(progress); });
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
               loop_thread_.OnLoop() ? answer() : loop_thread_.RunInLoop(answer);
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
  ASSIGN_OR_RETURN(holder->communicator,
                   MakeNativeCommunicator(world.rank, world.world.size(), world.world.generation,
                                          engine_, pointers, clock_, options));
  return std::shared_ptr<Communicator>(holder, holder->communicator.get());
}

void Worker::OnEnded(const rendezvous::Ended& ended) {
  ended_ = true;
  exit_code_ = ended.exit_code;
  gate_.End(EndStatus(ended));
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
  Send(rendezvous::Failure{generation, suspect, why.ToString()});
}

void Worker::Send(const rendezvous::WorkerMessage& message) {
  if (session_ != nullptr) session_->Send(message);
}

}  // namespace closeranks::elastic
