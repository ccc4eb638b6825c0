package ingot;

/** Answers the questions of the command line: what a test runs on a desktop's JVM. */
final class Ask {
  public static void main(String[] questions) {
    try (Chat chat = new Chat(2, null)) {
      System.out.println(Chat.modelName());
      for (String question : questions) {
        int[] pieces = {0};
        String answer =
            chat.ask(
                question,
                24,
                utf8 -> {
                  ++pieces[0];
                  return true;
                });
        System.out.println(answer.replace("\n", "\\n") + " (" + pieces[0] + " pieces)");
      }
      chat.ask("again", 24, utf8 -> false);
    }
    try {
      new Chat(-1, null);
    } catch (IllegalStateException refused) {
      System.out.println("refused: " + refused.getMessage());
    }
  }
}
