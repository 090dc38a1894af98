#include "rendezvous/discovery.h"

#include <pthread.h>
#include <signal.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <utility>

#include "glog/logging.h"

namespace closeranks::rendezvous {
namespace {

// For a shared folder that may hang, with the own file still to be removed.
constexpr auto kPatience = std::chrono::seconds(1);

class ResolverSource final : public Source {
 public:
  using Ask = std::function<void(net::Resolver::Callback)>;

  ResolverSource(std::string name, Ask ask) : name_(std::move(name)), ask_(std::move(ask)) {}

  void Find(Callback callback) override {
    // The resolver may outlive this, with the question still open.
    ask_([alive = std::weak_ptr<const bool>(alive_),
          callback = std::move(callback)](Result<std::vector<net::Address>> answer) {
      if (!alive.expired()) callback(std::move(answer));
    });
  }
  const std::string& name() const override { return name_; }

 private:
  const std::string name_;
  const Ask ask_;
  std::shared_ptr<const bool> alive_ = std::make_shared<const bool>(true);
};

// What a FolderSource and its thread share.
struct FolderWork {
  std::shared_ptr<Files> files;
  std::string folder;
  std::string prefix;  // of the names of the job's files, a member's number follows
  std::string own_path;
  std::string own_address;

  std::mutex mutex;
  std::condition_variable changed;
  // Guarded by the mutex. The loop is there as long as it isn't over.
  bool is_over = false;
  bool is_asked = false;
  bool is_done = false;
  std::function<void(Result<std::vector<net::Address>>)> post_answer;

  // Of the thread alone: the own file was written.
  bool is_written = false;

  Result<std::vector<net::Address>> Look() {
    RETURN_IF_ERROR(files->MakeFolder(folder));
    // What is there later on and isn't ours is a successor's.
    if (!is_written || !files->Read(own_path).ok()) {
      RETURN_IF_ERROR(files->Replace(own_path, own_address));
      is_written = true;
    }
    ASSIGN_OR_RETURN(const std::vector<std::string> names, files->List(folder));
    std::vector<net::Address> addresses;
    for (const std::string& name : names) {
      if (!IsOfJob(name)) continue;
      // One that was removed meanwhile, or isn't ours, is nobody's address.
      const auto text = files->Read(folder + "/" + name);
      if (!text.ok()) continue;
      auto address = net::Address::Parse(*text);
      if (!address.ok() || !address->IsNumeric() || address->port == 0) continue;
      const bool is_new =
          std::find(addresses.begin(), addresses.end(), *address) == addresses.end();
      if (is_new) addresses.push_back(*std::move(address));
    }
    if (addresses.empty()) return Unavailable(folder + " has no address in it");
    return addresses;
  }

  // Of another job, or not written to its end yet, it's nothing to call.
  bool IsOfJob(std::string_view name) const {
    if (!name.starts_with(prefix)) return false;
    name.remove_prefix(prefix.size());
    return !name.empty() && name.find_first_not_of("0123456789") == std::string_view::npos;
  }

  void RunThread() {
    std::unique_lock lock(mutex);
    for (;;) {
      changed.wait(lock, [this] { return is_over || is_asked; });
      if (is_over) break;
      is_asked = false;
      lock.unlock();
      Result<std::vector<net::Address>> answer = Look();
      lock.lock();
      if (!is_over) post_answer(std::move(answer));
    }
    lock.unlock();
    // What stays behind after a crash is replaced by a successor, or leads nowhere.
    const auto own = files->Read(own_path);
    if (own.ok() && *own == own_address) (void)files->Remove(own_path);
    lock.lock();
    is_done = true;
    changed.notify_all();
  }
};

class FolderSource final : public Source {
 public:
  FolderSource(net::Loop& loop, std::shared_ptr<Files> files, std::string folder,
               const std::string& job, MemberId self, std::string own_address)
      : name_("the folder " + folder), work_(std::make_shared<FolderWork>()) {
    work_->files = std::move(files);
    work_->folder = std::move(folder);
    work_->prefix = job + ".";
    work_->own_path = work_->folder + "/" + work_->prefix + std::to_string(self);
    work_->own_address = std::move(own_address);
    work_->post_answer = [this, &loop, alive = std::weak_ptr<const bool>(alive_)](
                             Result<std::vector<net::Address>> answer) {
      loop.Post([this, alive, answer = std::move(answer)] {
        if (alive.expired()) return;
        std::exchange(callback_, nullptr)(answer);
      });
    };
    // Signals are for the threads that expect them.
    sigset_t all, before;
    sigfillset(&all);
    CHECK_EQ(pthread_sigmask(SIG_SETMASK, &all, &before), 0);
    std::thread([work = work_] { work->RunThread(); }).detach();
    CHECK_EQ(pthread_sigmask(SIG_SETMASK, &before, nullptr), 0);
  }
  ~FolderSource() override {
    std::unique_lock lock(work_->mutex);
    work_->is_over = true;
    work_->changed.notify_all();
    work_->changed.wait_for(lock, kPatience, [this] { return work_->is_done; });
  }

  void Find(Callback callback) override {
    callback_ = std::move(callback);
    std::lock_guard lock(work_->mutex);
    work_->is_asked = true;
    work_->changed.notify_all();
  }
  const std::string& name() const override { return name_; }

 private:
  const std::string name_;
  Callback callback_;
  std::shared_ptr<FolderWork> work_;
  std::shared_ptr<const bool> alive_ = std::make_shared<const bool>(true);
};

Result<std::vector<net::Address>> ParseList(std::string_view text) {
  std::vector<net::Address> hosts;
  while (!text.empty()) {
    const size_t comma = std::min(text.find(','), text.size());
    const std::string entry(text.substr(0, comma));
    text.remove_prefix(std::min(comma + 1, text.size()));
    auto address = net::Address::Parse(entry);
    if (!address.ok() || address->port == 0) {
      return InvalidArgument("'" + entry + "': expected ADDRESS:PORT" +
                             (address.ok() ? "" : ", but " + address.status().message()));
    }
    if (std::find(hosts.begin(), hosts.end(), *address) != hosts.end()) {
      return InvalidArgument(entry + " twice: each host is to be listed once");
    }
    hosts.push_back(*std::move(address));
  }
  return hosts;
}

}  // namespace

Result<Whereabouts> Whereabouts::Parse(std::string_view text) {
  Whereabouts where;
  if (text.starts_with("file:")) {
    where.folder = text.substr(5);
    if (!where.folder.starts_with("/")) {
      return InvalidArgument("'" + std::string(text) + "': expected file:/FOLDER");
    }
  } else if (text.starts_with("dns:")) {
    const std::string_view rest = text.substr(4);
    const size_t colon = rest.rfind(':');
    if (colon == std::string_view::npos || colon == 0 || colon + 1 == rest.size()) {
      return InvalidArgument("'" + std::string(text) + "': expected dns:NAME:PORT");
    }
    where.service = rest.substr(0, colon);
    where.port = rest.substr(colon + 1);
    const bool has_digits_only = where.port.find_first_not_of("0123456789") == std::string::npos;
    if (has_digits_only && where.PortNumber() == 0) {
      return InvalidArgument("'" + std::string(text) + "': there is no port " + where.port);
    }
  } else {
    ASSIGN_OR_RETURN(where.hosts, ParseList(text));
    if (where.hosts.empty()) return InvalidArgument("no host is named");
  }
  return where;
}

uint16_t Whereabouts::PortNumber() const {
  uint16_t number = 0;
  const char* end = port.data() + port.size();
  const auto [rest, error] = std::from_chars(port.data(), end, number);
  return error == std::errc() && rest == end ? number : 0;
}

std::unique_ptr<Source> MakeHostSource(net::Resolver& resolver, net::Address address) {
  std::string name = address.ToString();
  return std::make_unique<ResolverSource>(
      std::move(name), [&resolver, address = std::move(address)](net::Resolver::Callback callback) {
        resolver.Resolve(address, std::move(callback));
      });
}

std::unique_ptr<Source> MakeServiceSource(net::Resolver& resolver, const Whereabouts& where) {
  return std::make_unique<ResolverSource>(
      "the service " + where.service + ", port " + where.port,
      [&resolver, where](net::Resolver::Callback callback) {
        if (const uint16_t port = where.PortNumber()) {
          resolver.Resolve(net::Address::Ip(where.service, port), std::move(callback));
        } else {
          resolver.ResolveService(where.service, where.port, std::move(callback));
        }
      });
}

std::unique_ptr<Source> MakeFolderSource(net::Loop& loop, std::shared_ptr<Files> files,
                                         std::string folder, const std::string& job, MemberId self,
                                         std::string own_address) {
  return std::make_unique<FolderSource>(loop, std::move(files), std::move(folder), job, self,
                                        std::move(own_address));
}

}  // namespace closeranks::rendezvous
