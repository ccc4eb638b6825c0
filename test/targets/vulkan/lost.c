/* A libvulkan.so.1 before the true one: of a device that is lost after LOST_AFTER submissions. */
#include <dlfcn.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef void (*function)(void);
typedef function (*lookup)(void *, const char *);
typedef int32_t (*submit)(void *, uint32_t, const void *, void *);

enum { device_lost = -4 };

static lookup of_instance, of_device;
static submit true_submit;
static int submissions;

static int32_t losing_submit(void *queue, uint32_t count, const void *submits, void *fence) {
  if (submissions++ >= atoi(getenv("LOST_AFTER")))
    return device_lost;
  return true_submit(queue, count, submits, fence);
}

static function device_function(void *device, const char *name) {
  function found = of_device(device, name);
  if (strcmp(name, "vkQueueSubmit"))
    return found;
  true_submit = (submit)found;
  return (function)losing_submit;
}

function vkGetInstanceProcAddr(void *instance, const char *name) {
  if (!of_instance) {
    void *library = dlopen(getenv("TRUE_VULKAN"), RTLD_NOW | RTLD_LOCAL);
    of_instance = library ? (lookup)dlsym(library, "vkGetInstanceProcAddr") : NULL;
  }
  function found = of_instance ? of_instance(instance, name) : NULL;
  if (strcmp(name, "vkGetDeviceProcAddr"))
    return found;
  of_device = (lookup)found;
  return (function)device_function;
}
