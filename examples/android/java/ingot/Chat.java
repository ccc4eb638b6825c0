package ingot;

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;

/** A conversation with the model that is compiled into libmodel.so. One thread at a time, but for stop. */
public final class Chat implements AutoCloseable {
  /** Gets an answer piece by piece. A piece may end inside of a character: bytes of UTF-8. */
  public interface Listener {
    /** False ends the answer. */
    boolean onText(byte[] utf8);
  }

  private static final int SYSTEM = 0, USER = 1, ASSISTANT = 2; // ingot_role

  static {
    System.loadLibrary("ingot_jni");
  }

  private long session;
  private final List<byte[]> texts = new ArrayList<>();
  private final List<Integer> roles = new ArrayList<>();

  /** {@code threads} 0: as many as the device has large cores. {@code system} may be null. */
  public Chat(int threads, String system) {
    session = create(threads);
    if (system != null) add(SYSTEM, system);
  }

  /** What the model is called. */
  public static native String modelName();

  /** Answers {@code question} in at most {@code most} tokens; returns the answer. */
  public String ask(String question, int most, Listener listener) {
    add(USER, question);
    int[] kinds = roles.stream().mapToInt(Integer::intValue).toArray();
    byte[] answer = answer(open(), kinds, texts.toArray(new byte[0][]), most, listener);
    roles.add(ASSISTANT);
    texts.add(answer);
    return new String(answer, StandardCharsets.UTF_8);
  }

  /** Ends the answer under way within a token. From any thread, before close. */
  public void stop() {
    interrupt(open());
  }

  @Override
  public void close() {
    if (session != 0) destroy(session);
    session = 0;
  }

  private void add(int role, String text) {
    roles.add(role);
    texts.add(text.getBytes(StandardCharsets.UTF_8));
  }

  private long open() {
    if (session == 0) throw new IllegalStateException("the chat is closed");
    return session;
  }

  private static native long create(int threads);

  private static native void destroy(long session);

  private static native void interrupt(long session);

  private static native byte[] answer(
      long session, int[] roles, byte[][] texts, int most, Listener listener);
}
