package dev.fovea.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.extension.ExtendWith;

/** The examples run, and the shortest of them is what the README shows, in at most 15 lines. */
@Timeout(300)
@ExtendWith(House.Shared.class)
class ExamplesTest {
  private static final Path SHORTEST = Path.of("src/examples/java/Shortest.java");
  private static final String CHART = Repository.sample("chart.png").toString();

  private static String run(House house, String program, String... arguments)
      throws IOException, InterruptedException {
    List<String> command = new ArrayList<>();
    command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
    command.addAll(List.of("-cp", System.getProperty("java.class.path"), program));
    command.addAll(Arrays.asList(arguments));
    ProcessBuilder builder = new ProcessBuilder(command).redirectErrorStream(true);
    builder.environment().put("FOVEA_ADDRESS", house.decoder.address);
    Process process = builder.start();
    String output = new String(process.getInputStream().readAllBytes());
    assertEquals(0, process.waitFor(), output);
    return output;
  }

  @Test
  void askStreamsTheAnswerAndPrintsTheReceipt(House house) throws Exception {
    String output = run(house, "dev.fovea.examples.Ask", CHART, "Which bar is the tallest?");
    assertTrue(output.startsWith("yellow\n"), output);
    assertTrue(output.contains("48 visual"), output);
  }

  @Test
  void theShortestProgramAsksAndPrintsTheReceipt(House house) throws Exception {
    String output = run(house, "Shortest", house.decoder.address, CHART);
    assertTrue(output.startsWith("yellow\n"), output);
    assertTrue(output.contains("48 visual"), output);
  }

  @Test
  void theShortestProgramIsShortAndStandsInTheReadme() {
    String program = Repository.text(SHORTEST);
    assertTrue(program.lines().count() <= 15);
    assertTrue(Repository.text(Path.of("README.md")).contains("```java\n" + program + "```\n"));
  }
}
