package dev.fovea.examples;

import dev.fovea.client.AnswerStream;
import dev.fovea.client.Event;
import dev.fovea.client.Fovea;
import dev.fovea.client.FoveaException;
import dev.fovea.client.Image;
import dev.fovea.client.Question;
import java.nio.file.Path;
import java.util.Optional;

/** Asks about an image, prints the answer as it comes, and then what it cost. */
public final class Ask {
  private Ask() {}

  public static void main(String[] args) {
    if (args.length != 2) {
      System.err.println("usage: Ask IMAGE QUESTION   (the decoder: FOVEA_ADDRESS)");
      System.exit(2);
    }
    String address =
        Optional.ofNullable(System.getenv("FOVEA_ADDRESS")).orElse("127.0.0.1:50052");
    Question question = Question.of(args[1], Image.of(Path.of(args[0])).fit());
    try (Fovea fovea = Fovea.connect(address);
        AnswerStream events = fovea.stream(question)) {
      events.forEachRemaining(Ask::print);
    } catch (FoveaException failed) {
      System.err.println(failed.reasonName() + ": " + failed.getMessage());
      System.exit(1);
    }
  }

  private static void print(Event event) {
    if (event instanceof Event.Text more) {
      System.out.print(more.text());
      System.out.flush();
    } else if (event instanceof Event.Finished end) {
      System.out.println("\n\n" + end.receipt().table());
    }
  }
}
