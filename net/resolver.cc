#include "net/resolver.h"

#include <netdb.h>
#include <pthread.h>
#include <signal.h>

#include <algorithm>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <mutex>
#include <string>
#include <thread>
#include <utility>

#include "glog/logging.h"

namespace closeranks::net {
namespace {

Result<std::vector<Address>> AskSystem(const Address& question) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const int error = getaddrinfo(question.host.c_str(), nullptr, &hints, &found);
  if (error != 0) {
    return Unavailable("resolving " + question.host + ": " + gai_strerror(error));
  }
  const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> owner(found, &freeaddrinfo);
  std::vector<Address> addresses;
  for (const addrinfo* entry = found; entry; entry = entry->ai_next) {
    SocketAddress socket_address;
    std::memcpy(&socket_address.storage, entry->ai_addr, entry->ai_addrlen);
    socket_address.length = entry->ai_addrlen;
    Address address = FromSocketAddress(socket_address);
    address.port = question.port;
    const bool is_new = std::find(addresses.begin(), addresses.end(), address) == addresses.end();
    if (is_new && !address.host.empty()) addresses.push_back(std::move(address));
  }
  if (addresses.empty()) return Unavailable("resolving " + question.host + ": no address");
  return addresses;
}

// A detached thread that no signal is delivered to.
void StartQuietThread(std::function<void()> body) {
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  CHECK_EQ(pthread_sigmask(SIG_SETMASK, &all, &before), 0);
  std::thread(std::move(body)).detach();
  CHECK_EQ(pthread_sigmask(SIG_SETMASK, &before, nullptr), 0);
}

}  // namespace

// What the resolver and its thread share. The thread keeps it alive, as nothing can interrupt a
// getaddrinfo; callbacks stay with the resolver, so that they are destroyed where they are called.
struct SystemResolver::Shared {
  struct Question {
    uint64_t id;
    Address address;
  };

  void RunThread() {
    std::unique_lock lock(mutex);
    for (;;) {
      changed.wait(lock, [&] { return is_over || !questions.empty(); });
      if (is_over) return;
      const Question question = std::move(questions.front());
      questions.pop_front();
      lock.unlock();
      Result<std::vector<Address>> answer = AskSystem(question.address);
      lock.lock();
      // With the lock held: the resolver, and so its loop, are there.
      if (!is_over) post_answer(question.id, std::move(answer));
    }
  }

  std::mutex mutex;
  std::condition_variable changed;
  bool is_over = false;
  std::deque<Question> questions;
  std::function<void(uint64_t id, Result<std::vector<Address>> answer)> post_answer;
};

SystemResolver::SystemResolver(EventLoop& loop) : loop_(loop) {}

SystemResolver::~SystemResolver() {
  if (!shared_) return;
  std::lock_guard lock(shared_->mutex);
  shared_->is_over = true;
  shared_->changed.notify_one();
}

void SystemResolver::Resolve(const Address& address, Callback callback) {
  const uint64_t id = next_question_++;
  waiting_[id] = std::move(callback);
  const std::weak_ptr<const bool> alive = alive_;
  const auto answer_later = [this, alive](uint64_t id, Result<std::vector<Address>> answer) {
    loop_.Post([this, alive, id, answer = std::move(answer)] {
      if (!alive.expired()) Answer(id, answer);
    });
  };
  if (address.IsNumeric()) return answer_later(id, std::vector<Address>{address});
  if (address.host == "localhost") {
    return answer_later(id, std::vector<Address>{Address::Ip("127.0.0.1", address.port),
                                                 Address::Ip("::1", address.port)});
  }
  if (!shared_) {
    shared_ = std::make_shared<Shared>();
    shared_->post_answer = answer_later;
    StartQuietThread([shared = shared_] { shared->RunThread(); });
  }
  std::lock_guard lock(shared_->mutex);
  shared_->questions.push_back({id, address});
  shared_->changed.notify_one();
}

void SystemResolver::Answer(uint64_t id, const Result<std::vector<Address>>& answer) {
  const auto question = waiting_.extract(id);
  question.mapped()(answer);
}

}  // namespace closeranks::net
