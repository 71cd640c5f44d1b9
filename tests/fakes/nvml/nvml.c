/* A stand-in for libnvidia-ml.so.1, for the real nvidia-ml-py to load.
 *
 * It answers from the file that FAKE_NVML_TOPOLOGY names: lines of "key value", as __init__.py
 * flattens them from a JSON topology, read anew by every nvmlInit. What the file does not tell is
 * NOT_SUPPORTED; "<device>.errors.<function> <code>" makes a call fail ("*" stands for every one).
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    SUCCESS = 0,
    UNINITIALIZED = 1,
    INVALID_ARGUMENT = 2,
    NOT_SUPPORTED = 3,
    NOT_FOUND = 6,
    INSUFFICIENT_SIZE = 7,
    DRIVER_NOT_LOADED = 9,
};
enum { MAX_LINES = 8192, MAX_GPUS = 16, MAX_SLICES = 7, KEY = 128, MAX_LINKS = 36 };

typedef unsigned long long u64;
typedef struct { int gpu, slice; } Device; /* slice is -1 for a whole GPU */
typedef struct { u64 total, free, used; } Memory;
typedef struct { unsigned version; u64 total, reserved, free, used; } Memory2;
typedef struct { unsigned gpu, memory; } Utilization;
typedef struct { unsigned version, sensor; int celsius; } Temperature;
typedef struct { unsigned pid; u64 used; unsigned gpu_instance, compute_instance; } Process;
typedef struct { unsigned sms, parts[5], gpu_slices, compute_slices; u64 memory_mb; } Attributes;
typedef struct {
    char short_id[16];
    unsigned domain, bus, device, device_id, subsystem_id;
    char id[32];
} Pci;

static struct { char *key, *value; } lines[MAX_LINES];
static int n_lines, users;
static Device whole[MAX_GPUS], slices[MAX_GPUS][MAX_SLICES];

/* The file */

static const char *value_of(const char *format, ...) {
    char key[KEY];
    va_list given;
    va_start(given, format);
    vsnprintf(key, sizeof key, format, given);
    va_end(given);
    for (int i = 0; i < n_lines; i++)
        if (strcmp(lines[i].key, key) == 0) return lines[i].value;
    return NULL;
}

static int read_file(void) {
    const char *path = getenv("FAKE_NVML_TOPOLOGY");
    FILE *file = path ? fopen(path, "r") : NULL;
    if (!file) return DRIVER_NOT_LOADED;
    char line[1024];
    n_lines = 0;
    while (n_lines < MAX_LINES && fgets(line, sizeof line, file)) {
        line[strcspn(line, "\n")] = 0;
        char *space = strchr(line, ' ');
        if (!space) continue;
        *space = 0;
        lines[n_lines].key = strdup(line);
        lines[n_lines++].value = strdup(space + 1);
    }
    fclose(file);
    return SUCCESS;
}

static int failure(const char *device, const char *function) {
    const char *code = value_of("%s%serrors.%s", device, *device ? "." : "", function);
    if (!code) code = value_of("%s%serrors.*", device, *device ? "." : "");
    return code ? atoi(code) : SUCCESS;
}

static const char *name_of(const Device *device) {
    static _Thread_local char name[KEY];
    if (device->slice < 0) snprintf(name, sizeof name, "gpu.%d", device->gpu);
    else snprintf(name, sizeof name, "gpu.%d.mig.%d", device->gpu, device->slice);
    return name;
}

static int fact(const Device *device, const char *function, const char *what, const char **out) {
    if (!users) return UNINITIALIZED;
    int code = failure(name_of(device), function);
    if (code) return code;
    *out = value_of("%s.%s", name_of(device), what);
    return *out ? SUCCESS : NOT_SUPPORTED;
}

static int number(const Device *device, const char *function, const char *what, u64 *out) {
    const char *text;
    int code = fact(device, function, what, &text);
    if (code == SUCCESS) *out = strtoull(text, NULL, 0);
    return code;
}

static int text(const char *value, char *out, unsigned size) {
    if (!value) return NOT_FOUND;
    if (strlen(value) >= size) return INSUFFICIENT_SIZE;
    strcpy(out, value);
    return SUCCESS;
}

/* The library */

int nvmlInitWithFlags(unsigned flags) {
    (void)flags;
    int code = read_file();
    if (code == SUCCESS) code = failure("", "nvmlInit");
    if (code == SUCCESS) users++;
    return code;
}
int nvmlInit_v2(void) { return nvmlInitWithFlags(0); }
int nvmlInit(void) { return nvmlInitWithFlags(0); }
int nvmlShutdown(void) { return users ? (users--, SUCCESS) : UNINITIALIZED; }

const char *nvmlErrorString(int code) {
    static _Thread_local char message[32];
    snprintf(message, sizeof message, "fake error %d", code);
    return message;
}

static int system_text(const char *function, const char *key, char *out, unsigned size) {
    int code = users ? failure("", function) : UNINITIALIZED;
    return code ? code : text(value_of("%s", key), out, size);
}
int nvmlSystemGetDriverVersion(char *out, unsigned size) {
    return system_text("nvmlSystemGetDriverVersion", "driver_version", out, size);
}
int nvmlSystemGetNVMLVersion(char *out, unsigned size) {
    return system_text("nvmlSystemGetNVMLVersion", "driver_version", out, size);
}
int nvmlSystemGetProcessName(unsigned pid, char *out, unsigned size) {
    char key[KEY];
    snprintf(key, sizeof key, "process.%u", pid);
    return system_text("nvmlSystemGetProcessName", key, out, size);
}
int nvmlSystemGetCudaDriverVersion_v2(int *out) {
    const char *value = value_of("cuda_version");
    if (!value) return NOT_SUPPORTED;
    *out = atoi(value);
    return SUCCESS;
}
int nvmlSystemGetCudaDriverVersion(int *out) { return nvmlSystemGetCudaDriverVersion_v2(out); }

/* Devices */

int nvmlDeviceGetCount_v2(unsigned *out) {
    int code = users ? failure("", "nvmlDeviceGetCount_v2") : UNINITIALIZED;
    const char *count = value_of("count");
    *out = count ? (unsigned)atoi(count) : 0;
    return code;
}
int nvmlDeviceGetHandleByIndex_v2(unsigned index, Device **out) {
    unsigned count;
    int code = nvmlDeviceGetCount_v2(&count);
    if (code) return code;
    if (index >= count || index >= MAX_GPUS) return INVALID_ARGUMENT;
    whole[index] = (Device){(int)index, -1};
    *out = &whole[index];
    return failure(name_of(*out), "nvmlDeviceGetHandleByIndex_v2");
}
int nvmlDeviceGetHandleByUUID(const char *uuid, Device **out) {
    unsigned count;
    int code = nvmlDeviceGetCount_v2(&count);
    for (unsigned i = 0; !code && i < count; i++) {
        const char *own = value_of("gpu.%u.uuid", i);
        if (own && strcmp(own, uuid) == 0) return nvmlDeviceGetHandleByIndex_v2(i, out);
    }
    return code ? code : NOT_FOUND;
}
int nvmlDeviceGetIndex(Device *device, unsigned *out) {
    *out = (unsigned)device->gpu;
    return SUCCESS;
}
int nvmlDeviceGetMinorNumber(Device *device, unsigned *out) {
    return nvmlDeviceGetIndex(device, out);
}

static int device_text(Device *d, const char *function, const char *what, char *out, unsigned n) {
    const char *value;
    int code = fact(d, function, what, &value);
    return code ? code : text(value, out, n);
}
int nvmlDeviceGetName(Device *device, char *out, unsigned size) {
    return device_text(device, "nvmlDeviceGetName", "name", out, size);
}
int nvmlDeviceGetUUID(Device *device, char *out, unsigned size) {
    return device_text(device, "nvmlDeviceGetUUID", "uuid", out, size);
}

static int pci(const char *id, Pci *out) {
    memset(out, 0, sizeof *out);
    sscanf(id, "%x:%x:%x", &out->domain, &out->bus, &out->device);
    snprintf(out->id, sizeof out->id, "%08X:%02X:%02X.0", out->domain, out->bus, out->device);
    snprintf(
        out->short_id, sizeof out->short_id, "%04X:%02X:%02X.0", out->domain & 0xffff,
        out->bus & 0xff, out->device & 0xff
    );
    return SUCCESS;
}
int nvmlDeviceGetPciInfo_v3(Device *device, Pci *out) {
    const char *id;
    int code = fact(device, "nvmlDeviceGetPciInfo_v3", "bus_id", &id);
    return code ? code : pci(id, out);
}

/* One number a call */

#define NUMBER(function, what, type)                       \
    int function(Device *device, type *out) {              \
        u64 value;                                         \
        int code = number(device, #function, what, &value); \
        if (code == SUCCESS) *out = (type)value;           \
        return code;                                       \
    }
NUMBER(nvmlDeviceGetPowerUsage, "power_mw", unsigned)
NUMBER(nvmlDeviceGetEnforcedPowerLimit, "power_limit_mw", unsigned)
NUMBER(nvmlDeviceGetCurrPcieLinkGeneration, "pcie_generation", unsigned)
NUMBER(nvmlDeviceGetMaxPcieLinkGeneration, "pcie_generation_max", unsigned)
NUMBER(nvmlDeviceGetCurrPcieLinkWidth, "pcie_width", unsigned)
NUMBER(nvmlDeviceGetMaxPcieLinkWidth, "pcie_width_max", unsigned)
NUMBER(nvmlDeviceGetCurrentClocksEventReasons, "clocks_event_reasons", u64)
NUMBER(nvmlDeviceGetCurrentClocksThrottleReasons, "clocks_event_reasons", u64)
NUMBER(nvmlDeviceGetMaxMigDeviceCount, "max_mig", unsigned)
NUMBER(nvmlDeviceGetNumaNodeId, "own_numa_node", int)

int nvmlDeviceGetTemperature(Device *device, unsigned sensor, unsigned *out) {
    u64 value;
    int code = number(device, "nvmlDeviceGetTemperature", "temperature", &value);
    if (code == SUCCESS) *out = (unsigned)value;
    return sensor ? INVALID_ARGUMENT : code;
}
int nvmlDeviceGetTemperatureV(Device *device, Temperature *out) {
    u64 value;
    int code = number(device, "nvmlDeviceGetTemperatureV", "temperature", &value);
    if (code == SUCCESS) out->celsius = (int)value;
    return code;
}
int nvmlDeviceGetCudaComputeCapability(Device *device, int *major, int *minor) {
    const char *value;
    int code = fact(device, "nvmlDeviceGetCudaComputeCapability", "compute_capability", &value);
    if (code == SUCCESS) sscanf(value, "%d.%d", major, minor);
    return code;
}
int nvmlDeviceGetMemoryAffinity(Device *device, unsigned size, u64 *out, unsigned scope) {
    u64 node;
    int code = number(device, "nvmlDeviceGetMemoryAffinity", "numa_node", &node);
    if (code) return code;
    if (scope > 1 || node >= 64ull * size) return INVALID_ARGUMENT;
    memset(out, 0, size * sizeof *out);
    out[node / 64] = 1ull << node % 64;
    return SUCCESS;
}

/* Load and memory */

int nvmlDeviceGetUtilizationRates(Device *device, Utilization *out) {
    u64 value;
    int code = number(device, "nvmlDeviceGetUtilizationRates", "utilization", &value);
    if (code == SUCCESS) *out = (Utilization){(unsigned)value, 0};
    return code;
}

static int memory(Device *device, const char *function, Memory2 *out) {
    int code = number(device, function, "memory.total", &out->total);
    if (!code) code = number(device, function, "memory.reserved", &out->reserved);
    if (!code) code = number(device, function, "memory.used", &out->used);
    out->free = out->total - out->reserved - out->used;
    return code;
}
int nvmlDeviceGetMemoryInfo_v2(Device *device, Memory2 *out) {
    if (out->version != (sizeof *out | 2u << 24)) return INVALID_ARGUMENT;
    return memory(device, "nvmlDeviceGetMemoryInfo_v2", out);
}
int nvmlDeviceGetMemoryInfo(Device *device, Memory *out) {
    Memory2 all = {0};
    int code = memory(device, "nvmlDeviceGetMemoryInfo", &all);
    if (code == SUCCESS) *out = (Memory){all.total, all.free, all.used + all.reserved};
    return code;
}

static int processes(Device *d, const char *function, const char *list, unsigned *n, Process *out) {
    u64 count, pid, used;
    char key[KEY];
    snprintf(key, sizeof key, "%s.count", list);
    int code = number(d, function, key, &count);
    if (code) return code;
    unsigned room = *n;
    *n = (unsigned)count;
    if (room < count) return INSUFFICIENT_SIZE;
    for (unsigned i = 0; i < count; i++) {
        snprintf(key, sizeof key, "%s.%u.pid", list, i);
        number(d, function, key, &pid);
        snprintf(key, sizeof key, "%s.%u.used", list, i);
        if (number(d, function, key, &used)) used = ~0ull; /* the driver hides it */
        out[i] = (Process){(unsigned)pid, used, ~0u, ~0u};
    }
    return SUCCESS;
}
#define PROCESSES(function, list)                                \
    int function(Device *device, unsigned *count, Process *out) { \
        return processes(device, #function, list, count, out);    \
    }
PROCESSES(nvmlDeviceGetComputeRunningProcesses_v3, "compute")
PROCESSES(nvmlDeviceGetComputeRunningProcesses_v2, "compute")
PROCESSES(nvmlDeviceGetGraphicsRunningProcesses_v3, "graphics")
PROCESSES(nvmlDeviceGetGraphicsRunningProcesses_v2, "graphics")

/* MIG */

int nvmlDeviceGetMigMode(Device *device, unsigned *current, unsigned *pending) {
    u64 mode;
    int code = number(device, "nvmlDeviceGetMigMode", "mig_mode", &mode);
    if (code == SUCCESS) *current = *pending = (unsigned)mode;
    return code;
}
int nvmlDeviceGetMigDeviceHandleByIndex(Device *device, unsigned index, Device **out) {
    if (device->slice >= 0 || index >= MAX_SLICES) return INVALID_ARGUMENT;
    if (!value_of("gpu.%d.mig.%u.name", device->gpu, index)) return NOT_FOUND;
    slices[device->gpu][index] = (Device){device->gpu, (int)index};
    *out = &slices[device->gpu][index];
    return failure(name_of(*out), "nvmlDeviceGetMigDeviceHandleByIndex");
}
int nvmlDeviceGetDeviceHandleFromMigDeviceHandle(Device *slice, Device **out) {
    if (slice->slice < 0) return INVALID_ARGUMENT;
    return nvmlDeviceGetHandleByIndex_v2((unsigned)slice->gpu, out);
}
int nvmlDeviceIsMigDeviceHandle(Device *device, unsigned *out) {
    *out = device->slice >= 0;
    return SUCCESS;
}
int nvmlDeviceGetGpuInstanceId(Device *device, unsigned *out) {
    *out = (unsigned)device->slice + 1;
    return device->slice < 0 ? INVALID_ARGUMENT : SUCCESS;
}
int nvmlDeviceGetComputeInstanceId(Device *device, unsigned *out) {
    *out = 0;
    return device->slice < 0 ? INVALID_ARGUMENT : SUCCESS;
}
int nvmlDeviceGetAttributes_v2(Device *device, Attributes *out) {
    u64 size;
    int code = number(device, "nvmlDeviceGetAttributes_v2", "memory.total", &size);
    if (device->slice < 0) return NOT_SUPPORTED;
    memset(out, 0, sizeof *out);
    out->memory_mb = code ? 0 : size >> 20;
    return code;
}

/* Links */

int nvmlDeviceGetNvLinkState(Device *device, unsigned link, unsigned *out) {
    u64 count, active;
    char key[KEY];
    int code = number(device, "nvmlDeviceGetNvLinkState", "nvlink.count", &count);
    if (code) return code;
    if (link >= count || link >= MAX_LINKS) return INVALID_ARGUMENT;
    snprintf(key, sizeof key, "nvlink.%u.active", link);
    code = number(device, "nvmlDeviceGetNvLinkState", key, &active);
    if (code == SUCCESS) *out = (unsigned)active;
    return code;
}
int nvmlDeviceGetNvLinkRemotePciInfo_v2(Device *device, unsigned link, Pci *out) {
    const char *id;
    char key[KEY];
    snprintf(key, sizeof key, "nvlink.%u.to", link);
    int code = fact(device, "nvmlDeviceGetNvLinkRemotePciInfo_v2", key, &id);
    return code ? code : pci(id, out);
}
int nvmlDeviceGetNvLinkRemoteDeviceType(Device *device, unsigned link, unsigned *out) {
    u64 type;
    char key[KEY];
    snprintf(key, sizeof key, "nvlink.%u.type", link);
    int code = number(device, "nvmlDeviceGetNvLinkRemoteDeviceType", key, &type);
    if (code == SUCCESS) *out = (unsigned)type;
    return code;
}

static int pair(Device *a, Device *b, const char *function, const char *what, unsigned *out) {
    int code = failure(name_of(a), function);
    if (!code) code = failure(name_of(b), function);
    if (code) return code;
    int low = a->gpu < b->gpu ? a->gpu : b->gpu, high = a->gpu < b->gpu ? b->gpu : a->gpu;
    const char *value = value_of("pair.%d.%d.%s", low, high, what);
    if (!value) return NOT_SUPPORTED;
    *out = (unsigned)atoi(value);
    return SUCCESS;
}
int nvmlDeviceGetTopologyCommonAncestor(Device *a, Device *b, unsigned *out) {
    return pair(a, b, "nvmlDeviceGetTopologyCommonAncestor", "ancestor", out);
}
int nvmlDeviceGetP2PStatus(Device *a, Device *b, unsigned index, unsigned *out) {
    static const char *const kinds[] = {"p2p_read", "p2p_write", "p2p_nvlink"};
    if (index > 2) return INVALID_ARGUMENT;
    return pair(a, b, "nvmlDeviceGetP2PStatus", kinds[index], out);
}
