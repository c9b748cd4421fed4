// The wrapper of every C function of the shim.
#pragma once

#include <c10/util/Exception.h>

#include <cstring>
#include <exception>

namespace {

// Runs `body` and returns null, or a message that the caller frees: no C++ exception escapes.
template <typename Body> char *guarded(Body body) {
  try {
    body();
    return nullptr;
  } catch (const c10::Error &error) {
    // Without the C++ backtrace, which means nothing to a user.
    return strdup(error.what_without_backtrace());
  } catch (const std::exception &error) {
    return strdup(error.what());
  } catch (...) {
    return strdup("an exception of unknown type");
  }
}

}  // namespace
