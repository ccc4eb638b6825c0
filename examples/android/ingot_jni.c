/* What Chat.java calls, by the functions of ingot.h. Errors become IllegalStateException. */
#include "model.h"

#include <jni.h>

enum { kMessages = 256 };

static void throw_status(JNIEnv *env, const char *text) {
  jclass type = (*env)->FindClass(env, "java/lang/IllegalStateException");
  if (type)
    (*env)->ThrowNew(env, type, text);
}

JNIEXPORT jstring JNICALL Java_ingot_Chat_modelName(JNIEnv *env, jclass type) {
  (void)type;
  ingot_model_info info;
  const ingot_status status = ingot_model_info_of(&model_program, &info);
  if (status)
    throw_status(env, ingot_status_string(status));
  return status ? NULL : (*env)->NewStringUTF(env, info.name);
}

JNIEXPORT jlong JNICALL Java_ingot_Chat_create(JNIEnv *env, jclass type, jint threads) {
  (void)type;
  ingot_session_options options = ingot_default_session_options();
  char problem[INGOT_PROBLEM_BYTES];
  options.threads = threads;
  options.problem = problem;
  problem[0] = 0;
  ingot_session *session;
  ingot_status status = ingot_session_create(&model_program, &options, &session);
  if (!status) {
    ingot_sampling sampling = ingot_default_sampling();
    sampling.temperature = 0;
    status = ingot_set_sampling(session, &sampling);
  }
  if (status)
    throw_status(env, problem[0] ? problem : ingot_status_string(status));
  return (jlong)session;
}

JNIEXPORT void JNICALL Java_ingot_Chat_destroy(JNIEnv *env, jclass type, jlong session) {
  (void)env, (void)type;
  ingot_session_destroy((ingot_session *)session);
}

JNIEXPORT void JNICALL Java_ingot_Chat_interrupt(JNIEnv *env, jclass type, jlong session) {
  (void)env, (void)type;
  ingot_interrupt((ingot_session *)session);
}

struct listener {
  JNIEnv *env;
  jobject object;
  jmethodID on_text;
};

static int32_t on_token(void *user, int32_t token, const char *bytes, size_t count) {
  (void)token;
  struct listener *listener = user;
  JNIEnv *env = listener->env;
  jbyteArray text = (*env)->NewByteArray(env, (jsize)count);
  if (!text)
    return 1; /* an exception is pending */
  (*env)->SetByteArrayRegion(env, text, 0, (jsize)count, (const jbyte *)bytes);
  const jboolean more = (*env)->CallBooleanMethod(env, listener->object, listener->on_text, text);
  (*env)->DeleteLocalRef(env, text);
  return (*env)->ExceptionCheck(env) || !more;
}

/* The bytes of the last `tokens` tokens of the session. */
static jbyteArray last_tokens(JNIEnv *env, ingot_session *session, int32_t tokens) {
  const int32_t *ids = ingot_history(session) + ingot_position(session) - tokens;
  jsize bytes = 0, at = 0;
  const char *piece;
  for (int32_t i = 0; i < tokens; ++i)
    bytes += ingot_token_bytes(session, ids[i], &piece);
  jbyteArray text = (*env)->NewByteArray(env, bytes);
  for (int32_t i = 0; text && i < tokens; ++i) {
    const jsize count = ingot_token_bytes(session, ids[i], &piece);
    (*env)->SetByteArrayRegion(env, text, at, count, (const jbyte *)piece);
    at += count;
  }
  return text;
}

JNIEXPORT jbyteArray JNICALL Java_ingot_Chat_answer(JNIEnv *env, jclass type, jlong handle,
                                                    jintArray roles, jobjectArray texts, jint most,
                                                    jobject object) {
  (void)type;
  ingot_session *session = (ingot_session *)handle;
  const jsize count = (*env)->GetArrayLength(env, texts);
  if (count > kMessages)
    return throw_status(env, "the conversation has too many messages"), NULL;
  ingot_message messages[kMessages];
  jbyteArray arrays[kMessages];
  jint kinds[kMessages];
  (*env)->GetIntArrayRegion(env, roles, 0, count, kinds);
  if ((*env)->EnsureLocalCapacity(env, count + 16))
    return NULL;
  jsize held = 0;
  for (; held < count && !(*env)->ExceptionCheck(env); ++held) {
    arrays[held] = (*env)->GetObjectArrayElement(env, texts, held);
    messages[held].role = (ingot_role)kinds[held];
    messages[held].bytes = (size_t)(*env)->GetArrayLength(env, arrays[held]);
    messages[held].text = (const char *)(*env)->GetByteArrayElements(env, arrays[held], NULL);
  }
  ingot_clear_interrupt(session);
  ingot_status status =
      (*env)->ExceptionCheck(env) ? INGOT_BAD_ARGUMENT : ingot_chat_eval(session, messages, count);
  while (held--)
    (*env)->ReleaseByteArrayElements(env, arrays[held], (jbyte *)messages[held].text, JNI_ABORT);
  struct listener listener = {env, object, NULL};
  int32_t made = 0;
  if (!status) {
    jclass listeners = (*env)->GetObjectClass(env, object);
    listener.on_text = (*env)->GetMethodID(env, listeners, "onText", "([B)Z");
    if (!listener.on_text)
      return NULL;
    status = ingot_generate(session, most, on_token, &listener, &made);
  }
  if ((*env)->ExceptionCheck(env))
    return NULL;
  if (status && status != INGOT_INTERRUPTED && status != INGOT_CONTEXT_FULL)
    return throw_status(env, ingot_status_string(status)), NULL;
  return last_tokens(env, session, made);
}
