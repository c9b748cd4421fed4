// Compiles the kernels for the GPU that is there, and launches them.
//
// NVRTC, the compiler, and the driver come with every libtorch for CUDA; both are found at run time, as libtorch's CUDA
// half itself is, so that one program serves machines with and without a GPU.

#include "launcher.h"

#include <c10/core/DeviceGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <dlfcn.h>

#include <map>
#include <memory>
#include <mutex>
#include <vector>

namespace bfn::fused {

namespace {

std::string &source() {
  static std::string text;
  return text;
}

// The functions of NVRTC and of the driver, as their documentation declares them; handles are pointers.
struct Library {
  int (*create)(void **program, const char *source, const char *name, int, const char *const *, const char *const *);
  int (*compile)(void *program, int count, const char *const *options);
  int (*log_size)(void *program, size_t *size);
  int (*log)(void *program, char *log);
  int (*cubin_size)(void *program, size_t *size);
  int (*cubin)(void *program, char *cubin);
  int (*destroy)(void **program);
  int (*get_device)(int *device, int ordinal);
  int (*attribute)(int *value, int attribute, int device);
  int (*get_context)(void **context);
  int (*retain)(void **context, int device);
  int (*set_context)(void *context);
  int (*load)(void **module, const void *image);
  int (*get_function)(void **function, void *module, const char *name);
  int (*set_attribute)(void *function, int attribute, int value);
  int (*launch)(void *function, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned shared,
                void *stream, void **arguments, void **);
  int (*error)(int code, const char **text);

  Library() {
    // It refers to both libraries, and knows where NVRTC lies.
    void *handle = dlopen("libcaffe2_nvrtc.so", RTLD_NOW);
    TORCH_CHECK(handle != nullptr, "libcaffe2_nvrtc.so could not be loaded: ", dlerror());
    auto find = [&](auto &function, const char *name) {
      void *address = dlsym(handle, name);
      TORCH_CHECK(address != nullptr, "neither NVRTC nor the driver has ", name);
      function = reinterpret_cast<std::decay_t<decltype(function)>>(address);
    };
    find(create, "nvrtcCreateProgram");
    find(compile, "nvrtcCompileProgram");
    find(log_size, "nvrtcGetProgramLogSize");
    find(log, "nvrtcGetProgramLog");
    find(cubin_size, "nvrtcGetCUBINSize");
    find(cubin, "nvrtcGetCUBIN");
    find(destroy, "nvrtcDestroyProgram");
    find(get_device, "cuDeviceGet");
    find(attribute, "cuDeviceGetAttribute");
    find(get_context, "cuCtxGetCurrent");
    find(retain, "cuDevicePrimaryCtxRetain");
    find(set_context, "cuCtxSetCurrent");
    find(load, "cuModuleLoadData");
    find(get_function, "cuModuleGetFunction");
    find(set_attribute, "cuFuncSetAttribute");
    find(launch, "cuLaunchKernel");
    find(error, "cuGetErrorString");
  }

  void check(int code, const char *what) const {
    if (code == 0) return;
    const char *text = nullptr;
    error(code, &text);
    TORCH_CHECK(false, what, ": ", text == nullptr ? "unknown error of the driver" : text);
  }
};

const Library &library() {
  static const Library found;
  return found;
}

// Numbers of the driver's interface.
constexpr int COMPUTE_CAPABILITY_MAJOR = 75, COMPUTE_CAPABILITY_MINOR = 76, SHARED_MEMORY_PER_BLOCK = 97;
constexpr int MOST_DYNAMIC_SHARED_MEMORY = 8;

int attribute_of(at::Device device, int attribute) {
  int handle = 0, value = 0;
  library().check(library().get_device(&handle, device.index()), "find the GPU");
  library().check(library().attribute(&value, attribute, handle), "ask the GPU");
  return value;
}

// Makes the driver's calls of this thread refer to the context that libtorch uses for the device, which is the present
// one under a guard, if this thread has no context yet.
void enter(at::Device device) {
  void *context = nullptr;
  library().check(library().get_context(&context), "ask for the context");
  if (context != nullptr) return;
  int handle = 0;
  library().check(library().get_device(&handle, device.index()), "find the GPU");
  library().check(library().retain(&context, handle), "find the context");
  library().check(library().set_context(context), "set the context");
}

std::string compiled(at::Device device, at::ScalarType number) {
  const std::string architecture =
      "--gpu-architecture=sm_" + std::to_string(attribute_of(device, COMPUTE_CAPABILITY_MAJOR)) +
      std::to_string(attribute_of(device, COMPUTE_CAPABILITY_MINOR));
  const char *options[] = {architecture.c_str(), "--std=c++17",
                           number == at::kFloat ? "--define-macro=NUMBER=float" : "--define-macro=NUMBER=bf16"};
  TORCH_CHECK(!source().empty(), "the kernels' source has not been set");
  void *program = nullptr;
  TORCH_CHECK(library().create(&program, source().c_str(), "fused layers", 0, nullptr, nullptr) == 0,
              "NVRTC could not be started");
  const std::shared_ptr<void> owner(program, [](void *one) { library().destroy(&one); });
  size_t size = 0;
  if (library().compile(program, 3, options) != 0) {
    library().log_size(program, &size);
    std::string log(size, ' ');
    library().log(program, log.data());
    TORCH_CHECK(false, "NVRTC could not compile the kernels: ", log);
  }
  TORCH_CHECK(library().cubin_size(program, &size) == 0, "NVRTC made no code");
  std::string code(size, ' ');
  TORCH_CHECK(library().cubin(program, code.data()) == 0, "NVRTC made no code");
  return code;
}

// The functions of one GPU and kind of number.
class Module {
 public:
  Module(at::Device device, at::ScalarType number) : most_shared_(attribute_of(device, SHARED_MEMORY_PER_BLOCK)) {
    const c10::DeviceGuard guard(device);
    enter(device);
    const std::string code = compiled(device, number);
    library().check(library().load(&module_, code.data()), "load the kernels");
  }

  void *function(const std::string &name) {
    auto found = functions_.find(name);
    if (found == functions_.end()) {
      void *function = nullptr;
      library().check(library().get_function(&function, module_, name.c_str()), name.c_str());
      library().check(library().set_attribute(function, MOST_DYNAMIC_SHARED_MEMORY, most_shared_), name.c_str());
      found = functions_.emplace(name, function).first;
    }
    return found->second;
  }

 private:
  int most_shared_;
  void *module_ = nullptr;
  std::map<std::string, void *> functions_;
};

// The function of a kernel; functions are never unloaded.
void *function(const std::string &kernel, at::ScalarType number, at::Device device) {
  static std::mutex mutex;
  static auto &modules = *new std::map<std::pair<c10::DeviceIndex, at::ScalarType>, Module>;
  const std::lock_guard<std::mutex> lock(mutex);
  const auto key = std::make_pair(device.index(), number);
  auto found = modules.find(key);
  if (found == modules.end()) found = modules.emplace(key, Module(device, number)).first;
  return found->second.function(kernel);
}

}  // namespace

void set_source(std::string text) { source() = std::move(text); }

const std::string &why_not(at::Device device) {
  static std::mutex mutex;
  static auto &known = *new std::map<c10::DeviceIndex, std::string>;
  const std::lock_guard<std::mutex> lock(mutex);
  auto found = known.find(device.index());
  if (found == known.end()) {
    std::string reason;
    try {
      // Numbers are rounded to bf16 by an instruction of this generation.
      if (attribute_of(device, COMPUTE_CAPABILITY_MAJOR) < 8) reason = "the GPU has no bf16";
      if (reason.empty()) function("normalise", at::kBFloat16, device);
    } catch (const c10::Error &error) {
      reason = error.what_without_backtrace();
    }
    found = known.emplace(device.index(), reason).first;
  }
  return found->second;
}

int64_t shared_memory(at::Device device) {
  // The emulator stands for an H200.
  return device.is_cuda() ? attribute_of(device, SHARED_MEMORY_PER_BLOCK) : 227 * 1024;
}

void launch(const std::string &kernel, at::ScalarType number, at::Device device, Grid grid, int64_t shared,
            void **arguments) {
  const c10::DeviceGuard guard(device);
  enter(device);
  const c10::impl::VirtualGuardImpl streams(at::kCUDA);
  void *stream = streams.getStreamNativeHandle(streams.getStream(device));
  library().check(library().launch(function(kernel, number, device), grid.x, grid.y, 1, THREADS, 1, 1, shared, stream,
                                   arguments, nullptr),
                  kernel.c_str());
}

}  // namespace bfn::fused
