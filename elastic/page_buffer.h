// Memory for a state or its gradients, which is much and needed for a while only.
#ifndef CLOSERANKS_ELASTIC_PAGE_BUFFER_H_
#define CLOSERANKS_ELASTIC_PAGE_BUFFER_H_

#include <cstddef>
#include <string_view>
#include <utility>

namespace closeranks::elastic {

// Zeros, straight from the kernel, in huge pages where it has them: to touch fresh memory page by
// page takes longer than to fill it. What isn't touched takes no memory, and all of it is given
// back at once. Throws std::bad_alloc, as a container does.
class PageBuffer {
 public:
  PageBuffer() = default;
  explicit PageBuffer(size_t bytes);
  PageBuffer(PageBuffer&& other) noexcept { *this = std::move(other); }
  PageBuffer& operator=(PageBuffer&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
  }
  ~PageBuffer();

  char* data() { return data_; }
  const char* data() const { return data_; }
  size_t size() const { return size_; }
  std::string_view view() const { return {data_, size_}; }

 private:
  char* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace closeranks::elastic

#endif  // CLOSERANKS_ELASTIC_PAGE_BUFFER_H_
