// CUDA graphs as plain C functions for graph.rs.
//
// libtorch_cuda.so is loaded at run time, if at all, so nothing here may need it for linking. Its headers need some of
// the CUDA toolkit's headers, which do not come with PyTorch. So streams and the allocator are reached through
// interfaces of libc10, and at::cuda::CUDAGraph through the names of its member functions.

#include <ATen/ATen.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <dlfcn.h>

#include <atomic>
#include <cstddef>
#include <exception>
#include <map>
#include <mutex>
#include <optional>

#include "guarded.h"

namespace {

// Room for an at::cuda::CUDAGraph, which takes 104 bytes in libtorch 2.11.0.
struct alignas(std::max_align_t) CUDAGraph {
  std::byte room[512];
};

// cudaStreamCaptureModeThreadLocal: other threads may use the device while this one records.
constexpr int THREAD_LOCAL = 1;

template <typename Function> void find(Function *&function, const char *mangled) {
  void *address = dlsym(RTLD_DEFAULT, mangled);
  TORCH_CHECK(address != nullptr, "the libtorch that was loaded has no ", mangled);
  function = reinterpret_cast<Function *>(address);
}

// The member functions, called as in the C++ ABI of Linux: with the object as the first argument.
struct Functions {
  void (*construct)(CUDAGraph *, bool keep_graph);
  void (*destroy)(CUDAGraph *);
  void (*begin)(CUDAGraph *, c10::MempoolId_t, int mode);
  void (*end)(CUDAGraph *);
  void (*replay)(CUDAGraph *);

  Functions() {
    find(construct, "_ZN2at4cuda9CUDAGraphC1Eb");
    find(destroy, "_ZN2at4cuda9CUDAGraphD1Ev");
    find(begin, "_ZN2at4cuda9CUDAGraph13capture_beginESt4pairIyyE21cudaStreamCaptureMode");
    find(end, "_ZN2at4cuda9CUDAGraph11capture_endEv");
    find(replay, "_ZN2at4cuda9CUDAGraph6replayEv");
  }
};

const Functions &functions() {
  static const Functions found;
  return found;
}

// One stream per device for all recordings: libtorch keeps work space for each stream that it has used.
c10::Stream side_stream(const c10::impl::VirtualGuardImpl &streams, at::Device device) {
  static std::mutex mutex;
  static std::map<c10::DeviceIndex, c10::Stream> known;
  std::lock_guard<std::mutex> lock(mutex);
  auto found = known.find(device.index());
  if (found == known.end()) found = known.emplace(device.index(), streams.getStreamFromGlobalPool(device)).first;
  return found->second;
}

// Whether a recording has failed in this process: libtorch's allocator and generator then still wait for its end.
std::atomic<bool> any_is_broken{false};

// A graph and the stream that it is recorded on, since the default stream cannot be recorded.
class Recording {
 public:
  explicit Recording(c10::DeviceIndex index)
      : device_(at::kCUDA, index), streams_(at::kCUDA), side_(side_stream(streams_, device_)) {
    functions().construct(&graph_, /*keep_graph=*/false);
  }

  ~Recording() { functions().destroy(&graph_); }

  Recording(const Recording &) = delete;
  Recording &operator=(const Recording &) = delete;

  // Whether this recording has failed: libtorch's allocator then still refers to the graph, which must never be freed.
  bool is_broken() const { return is_broken_; }

  // Waits for all earlier work; from then until `leave`, all work goes to the side stream.
  void enter() {
    streams_.synchronizeDevice(device_.index());
    at::Device device = streams_.exchangeDevice(device_);
    former_.emplace(Former{device, streams_.exchangeStream(side_)});
  }

  // From now on work is recorded and not executed.
  void begin() {
    TORCH_CHECK(!any_is_broken, "an earlier recording in this process failed; start the program anew");
    // Memory that the allocator keeps from earlier runs would lie idle beside the graph's own memory.
    at::getDeviceAllocator(at::kCUDA)->emptyCache();
    breaks_if_it_throws([&] { functions().begin(&graph_, {0, 0}, THREAD_LOCAL); });
    is_recording_ = true;
  }

  void end() {
    is_recording_ = false;
    breaks_if_it_throws([&] { functions().end(&graph_); });
  }

  // Returns to the stream used before `enter`. A recording that is still in progress is ended and discarded.
  void leave() {
    if (!former_) return;
    std::exception_ptr failure;
    if (is_recording_) {
      try {
        end();
        breaks_if_it_throws([&] {
          functions().destroy(&graph_);
          functions().construct(&graph_, /*keep_graph=*/false);
        });
      } catch (...) {
        failure = std::current_exception();
      }
    }
    streams_.exchangeStream(former_->stream);
    streams_.exchangeDevice(former_->device);
    former_.reset();
    if (failure) std::rethrow_exception(failure);
    streams_.synchronizeDevice(device_.index());
  }

  void replay() { functions().replay(&graph_); }

 private:
  struct Former {
    at::Device device;
    c10::Stream stream;
  };

  template <typename Body> void breaks_if_it_throws(Body body) {
    try {
      body();
    } catch (...) {
      any_is_broken = is_broken_ = true;
      throw;
    }
  }

  at::Device device_;
  c10::impl::VirtualGuardImpl streams_;
  c10::Stream side_;
  std::optional<Former> former_;
  bool is_recording_ = false;
  bool is_broken_ = false;
  CUDAGraph graph_;
};

}  // namespace

extern "C" {

char *bfn_recording_new(int device, void **recording) {
  return guarded([&] { *recording = new Recording(static_cast<c10::DeviceIndex>(device)); });
}

void bfn_recording_free(void *handle) {
  auto *recording = static_cast<Recording *>(handle);
  if (!recording->is_broken()) delete recording;
}

char *bfn_recording_enter(void *recording) {
  return guarded([&] { static_cast<Recording *>(recording)->enter(); });
}

char *bfn_recording_begin(void *recording) {
  return guarded([&] { static_cast<Recording *>(recording)->begin(); });
}

char *bfn_recording_end(void *recording) {
  return guarded([&] { static_cast<Recording *>(recording)->end(); });
}

char *bfn_recording_leave(void *recording) {
  return guarded([&] { static_cast<Recording *>(recording)->leave(); });
}

char *bfn_recording_replay(void *recording) {
  return guarded([&] { static_cast<Recording *>(recording)->replay(); });
}

}  // extern "C"
