// What statuses mean, in words.
#include "runtime/include/ingot.h"

const char *ingot_status_string(ingot_status status) {
  switch (status) {
  case INGOT_OK:
    return "ok";
  case INGOT_CONTEXT_FULL:
    return "the context is full";
  case INGOT_INTERRUPTED:
    return "interrupted";
  case INGOT_BAD_TOKEN:
    return "a token id is outside the vocabulary";
  case INGOT_BAD_ARGUMENT:
    return "an argument is out of range";
  case INGOT_BUFFER_TOO_SMALL:
    return "the result does not fit the buffer";
  case INGOT_NO_MEMORY:
    return "the system refuses the memory that the model needs";
  case INGOT_NO_THREADS:
    return "the system refuses to start threads";
  case INGOT_BAD_PROGRAM:
    return "the program and the runtime do not fit together";
  case INGOT_UNSUPPORTED_CPU:
    return "this processor lacks instructions that the program uses";
  case INGOT_NO_LOGITS:
    return "nothing has been evaluated";
  case INGOT_BAD_LOGITS:
    return "the model gave no usable logits";
  case INGOT_TEXT_TOO_LONG:
    return "the text is too long";
  case INGOT_NO_DEVICE:
    return "nothing here runs the program's kernels";
  case INGOT_DEVICE_LOST:
    return "the device stopped before it was done";
  case INGOT_NO_WEIGHTS:
    return "the model's weights are in a file that is not open";
  case INGOT_WEIGHTS_UNREADABLE:
    return "the file of weights cannot be read";
  case INGOT_WRONG_WEIGHTS:
    return "the file does not hold this model's weights";
  case INGOT_DAMAGED_WEIGHTS:
    return "the file of weights is damaged";
  case INGOT_DAMAGED_SAVE:
    return "the saved session is damaged";
  case INGOT_FOREIGN_SAVE:
    return "the saved session is not of this program";
  case INGOT_NO_EMBEDDINGS:
    return "the model was compiled without --embeddings";
  case INGOT_NO_TEMPLATE:
    return "the model's template has no place for these messages";
  }
  return "unknown status";
}
