import dev.fovea.client.Fovea;
import java.nio.file.Path;

public class Shortest {
  public static void main(String[] args) {
    try (var fovea = Fovea.connect(args[0])) {
      var answer = fovea.ask("Which bar is the tallest?", Path.of(args[1]));
      System.out.println(answer.text());
      System.out.println(answer.receipt().table());
    }
  }
}
