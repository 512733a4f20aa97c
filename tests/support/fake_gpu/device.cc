// A GPU that is made of the machine's own memory, as TensorFlow's C API for devices of
// other vendors takes it. What it does is done when a call returns, so that streams and
// events have nothing to wait for; every copy is counted.
//
// FAKE_GPUS is how many there are, FAKE_GPU_BYTES the memory of each, and FAKE_GPU_COPIES
// a file for the counts, which others may read meanwhile.

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <cstring>

#include "tensorflow/c/experimental/stream_executor/stream_executor.h"

struct SP_Stream_st {};
struct SP_Event_st {};
struct SP_Timer_st {};

namespace {

int64_t Setting(const char* name, int64_t otherwise) {
  const char* value = std::getenv(name);
  return value ? std::atoll(value) : otherwise;
}

void Succeed(TF_Status* status) { TF_SetStatus(status, TF_OK, ""); }

// Copies.

struct Count {
  std::atomic<int64_t> copies;
  std::atomic<int64_t> bytes;

  void Add(uint64_t size) {
    ++copies;
    bytes += size;
  }
};

struct Counts {
  Count to_device;
  Count to_host;
  Count within_devices;
};

Counts* OpenCounts() {
  int flags = MAP_PRIVATE | MAP_ANONYMOUS, file = -1;
  if (const char* path = std::getenv("FAKE_GPU_COPIES")) {
    file = open(path, O_RDWR | O_CREAT, 0600);
    if (file < 0 || ftruncate(file, sizeof(Counts)) != 0) std::abort();
    flags = MAP_SHARED;
  }
  void* counts = mmap(nullptr, sizeof(Counts), PROT_READ | PROT_WRITE, flags, file, 0);
  if (counts == MAP_FAILED) std::abort();
  return static_cast<Counts*>(counts);
}

Counts& counts = *OpenCounts();

void ToDevice(const SP_Device*, SP_Stream, SP_DeviceMemoryBase* to, const void* from,
              uint64_t size, TF_Status* status) {
  std::memcpy(to->opaque, from, size);
  counts.to_device.Add(size);
  Succeed(status);
}

void ToHost(const SP_Device*, SP_Stream, void* to, const SP_DeviceMemoryBase* from,
            uint64_t size, TF_Status* status) {
  std::memcpy(to, from->opaque, size);
  counts.to_host.Add(size);
  Succeed(status);
}

void WithinDevices(const SP_Device*, SP_Stream, SP_DeviceMemoryBase* to,
                   const SP_DeviceMemoryBase* from, uint64_t size, TF_Status* status) {
  std::memmove(to->opaque, from->opaque, size);
  counts.within_devices.Add(size);
  Succeed(status);
}

void SetCopies(SP_StreamExecutor* executor) {
  executor->memcpy_htod = ToDevice;
  executor->memcpy_dtoh = ToHost;
  executor->memcpy_dtod = WithinDevices;
  executor->sync_memcpy_htod = [](const SP_Device* device, SP_DeviceMemoryBase* to,
                                  const void* from, uint64_t size, TF_Status* status) {
    ToDevice(device, nullptr, to, from, size, status);
  };
  executor->sync_memcpy_dtoh = [](const SP_Device* device, void* to,
                                  const SP_DeviceMemoryBase* from, uint64_t size,
                                  TF_Status* status) {
    ToHost(device, nullptr, to, from, size, status);
  };
  executor->sync_memcpy_dtod = [](const SP_Device* device, SP_DeviceMemoryBase* to,
                                  const SP_DeviceMemoryBase* from, uint64_t size,
                                  TF_Status* status) {
    WithinDevices(device, nullptr, to, from, size, status);
  };
}

// Memory. TensorFlow asks once for all of it and divides it itself.

void SetMemory(SP_StreamExecutor* executor) {
  executor->allocate = [](const SP_Device*, uint64_t size, int64_t,
                          SP_DeviceMemoryBase* memory) {
    // Memory that nobody writes to takes none of the machine's.
    void* start = mmap(nullptr, size, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    *memory = {SP_DEVICE_MEMORY_BASE_STRUCT_SIZE};
    memory->opaque = start == MAP_FAILED ? nullptr : start;
    memory->size = size;
  };
  executor->deallocate = [](const SP_Device*, SP_DeviceMemoryBase* memory) {
    if (memory->opaque) munmap(memory->opaque, memory->size);
    memory->opaque = nullptr;
    memory->size = 0;
  };
  executor->host_memory_allocate = [](const SP_Device*, uint64_t size) {
    void* start = nullptr;
    return posix_memalign(&start, 64, std::max<uint64_t>(size, 64)) ? nullptr : start;
  };
  executor->host_memory_deallocate = [](const SP_Device*, void* start) { free(start); };
  executor->get_allocator_stats = [](const SP_Device*, SP_AllocatorStats*) -> TF_Bool {
    return false;
  };
  executor->device_memory_usage = [](const SP_Device*, int64_t* free,
                                     int64_t* total) -> TF_Bool {
    *free = *total = Setting("FAKE_GPU_BYTES", int64_t{2} << 30);
    return true;
  };
  executor->mem_zero = [](const SP_Device*, SP_Stream, SP_DeviceMemoryBase* memory,
                          uint64_t size, TF_Status* status) {
    std::memset(memory->opaque, 0, size);
    Succeed(status);
  };
  executor->memset = [](const SP_Device*, SP_Stream, SP_DeviceMemoryBase* memory,
                        uint8_t value, uint64_t size, TF_Status* status) {
    std::memset(memory->opaque, value, size);
    Succeed(status);
  };
  executor->memset32 = [](const SP_Device*, SP_Stream, SP_DeviceMemoryBase* memory,
                          uint32_t value, uint64_t size, TF_Status* status) {
    std::fill_n(static_cast<uint32_t*>(memory->opaque), size / 4, value);
    Succeed(status);
  };
}

// Streams, events and timers.

void SetStreams(SP_StreamExecutor* executor) {
  executor->create_stream = [](const SP_Device*, SP_Stream* stream, TF_Status* status) {
    *stream = new SP_Stream_st;
    Succeed(status);
  };
  executor->destroy_stream = [](const SP_Device*, SP_Stream stream) { delete stream; };
  executor->create_stream_dependency = [](const SP_Device*, SP_Stream, SP_Stream,
                                          TF_Status* status) { Succeed(status); };
  executor->get_stream_status = [](const SP_Device*, SP_Stream, TF_Status* status) {
    Succeed(status);
  };
  executor->block_host_until_done = executor->get_stream_status;
  executor->synchronize_all_activity = [](const SP_Device*, TF_Status* status) {
    Succeed(status);
  };
  executor->host_callback = [](const SP_Device*, SP_Stream, SE_StatusCallbackFn call,
                               void* argument) -> TF_Bool {
    TF_Status* status = TF_NewStatus();
    call(argument, status);
    const bool succeeded = TF_GetCode(status) == TF_OK;
    TF_DeleteStatus(status);
    return succeeded;
  };
}

void SetEventsAndTimers(SP_StreamExecutor* executor) {
  executor->create_event = [](const SP_Device*, SP_Event* event, TF_Status* status) {
    *event = new SP_Event_st;
    Succeed(status);
  };
  executor->destroy_event = [](const SP_Device*, SP_Event event) { delete event; };
  executor->get_event_status = [](const SP_Device*, SP_Event) {
    return SE_EVENT_COMPLETE;
  };
  executor->record_event = [](const SP_Device*, SP_Stream, SP_Event,
                              TF_Status* status) { Succeed(status); };
  executor->wait_for_event = [](const SP_Device*, SP_Stream, SP_Event,
                                TF_Status* status) { Succeed(status); };
  executor->block_host_for_event = [](const SP_Device*, SP_Event, TF_Status* status) {
    Succeed(status);
  };
  executor->create_timer = [](const SP_Device*, SP_Timer* timer, TF_Status* status) {
    *timer = new SP_Timer_st;
    Succeed(status);
  };
  executor->destroy_timer = [](const SP_Device*, SP_Timer timer) { delete timer; };
  executor->start_timer = [](const SP_Device*, SP_Stream, SP_Timer, TF_Status* status) {
    Succeed(status);
  };
  executor->stop_timer = executor->start_timer;
}

// Devices.

void CreateDevice(const SP_Platform*, SE_CreateDeviceParams* params, TF_Status* status) {
  params->device->struct_size = SP_DEVICE_STRUCT_SIZE;
  params->device->ordinal = params->ordinal;
  params->device->hardware_name = "memory of this machine";
  params->device->device_vendor = "tests of tfdlrm";
  params->device->pci_bus_id = "0000:00:00.0";
  Succeed(status);
}

void CreateExecutor(const SP_Platform*, SE_CreateStreamExecutorParams* params,
                    TF_Status* status) {
  SP_StreamExecutor* executor = params->stream_executor;
  executor->struct_size = SP_STREAMEXECUTOR_STRUCT_SIZE;
  SetCopies(executor);
  SetMemory(executor);
  SetStreams(executor);
  SetEventsAndTimers(executor);
  Succeed(status);
}

void SetDevices(SP_PlatformFns* platform) {
  platform->struct_size = SP_PLATFORM_FNS_STRUCT_SIZE;
  platform->get_device_count = [](const SP_Platform*, int* count, TF_Status* status) {
    *count = Setting("FAKE_GPUS", 1);
    Succeed(status);
  };
  platform->create_device = CreateDevice;
  platform->destroy_device = [](const SP_Platform*, SP_Device*) {};
  platform->create_device_fns = [](const SP_Platform*, SE_CreateDeviceFnsParams* params,
                                   TF_Status* status) {
    params->device_fns->struct_size = SP_DEVICE_FNS_STRUCT_SIZE;
    Succeed(status);
  };
  platform->destroy_device_fns = [](const SP_Platform*, SP_DeviceFns*) {};
  platform->create_stream_executor = CreateExecutor;
  platform->destroy_stream_executor = [](const SP_Platform*, SP_StreamExecutor*) {};
  platform->create_timer_fns = [](const SP_Platform*, SP_TimerFns* timer,
                                  TF_Status* status) {
    timer->struct_size = SP_TIMER_FNS_STRUCT_SIZE;
    timer->nanoseconds = [](SP_Timer) -> uint64_t { return 1; };
    Succeed(status);
  };
  platform->destroy_timer_fns = [](const SP_Platform*, SP_TimerFns*) {};
}

}  // namespace

extern "C" void SE_InitPlugin(SE_PlatformRegistrationParams* params,
                              TF_Status* status) {
  params->platform->struct_size = SP_PLATFORM_STRUCT_SIZE;
  params->platform->name = "FAKE";
  params->platform->type = "GPU";
  params->platform->use_bfc_allocator = true;
  SetDevices(params->platform_fns);
  params->destroy_platform = [](SP_Platform*) {};
  params->destroy_platform_fns = [](SP_PlatformFns*) {};
  Succeed(status);
}
