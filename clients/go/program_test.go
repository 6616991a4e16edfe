package fovea

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// program is the first program of the README.
func program(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "```go\n")
	code, _, ok := strings.Cut(rest, "```")
	if !ok {
		t.Fatal("the README has no program")
	}
	return code
}

func TestTheShortestProgramHasFifteenLinesAndStandsInTheDocumentation(t *testing.T) {
	lines := 0
	for line := range strings.Lines(program(t)) {
		if strings.TrimSpace(line) != "" {
			lines++
		}
	}
	if lines > 15 {
		t.Errorf("%d lines", lines)
	}
	text, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "//\tpackage main\n")
	documented := strings.ReplaceAll("//\tpackage main\n"+rest, "//\t", "")
	documented = strings.ReplaceAll(documented, "//\n", "\n")
	if !strings.HasPrefix(documented, program(t)) {
		t.Errorf("the package documentation has another program:\n%s", documented)
	}
}

// run builds a main package of this module and runs it.
func run(t *testing.T, build []string, args ...string) (string, error) {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "program")
	if out, err := exec.Command("go", append([]string{"build", "-o", binary}, build...)...).CombinedOutput(); err != nil {
		t.Fatalf("%s", out)
	}
	out, err := exec.Command(binary, args...).CombinedOutput()
	return string(out), err
}

// The program is overlaid on the module, where it finds the package, and never written into it.
func TestTheShortestProgramRuns(t *testing.T) {
	code := strings.NewReplacer("127.0.0.1:50052", house(t).decoder.address, "chart.png", absolute(ChartOfTheTests)).
		Replace(program(t))
	file, overlay := filepath.Join(t.TempDir(), "main.go"), filepath.Join(t.TempDir(), "overlay.json")
	added := map[string]any{"Replace": map[string]string{absolute("examples/shortest/main.go"): file}}
	for path, content := range map[string][]byte{file: []byte(code), overlay: must(json.Marshal(added))} {
		if err := os.WriteFile(path, content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	out, err := run(t, []string{"-overlay", overlay, "./examples/shortest"})
	if err != nil || !strings.HasPrefix(out, "yellow\n\nIMAGE") || !strings.Contains(out, "48 visual + 16 text in, 2 out") {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestTheExampleStreamsTheAnswerAndPrintsTheReceipt(t *testing.T) {
	out, err := run(t, []string{"./examples/ask"}, "-decoder", house(t).decoder.address, ChartOfTheTests, "Read the title.")
	if err != nil || !strings.HasPrefix(out, "timber\n\nIMAGE") || !strings.Contains(out, "256x192") {
		t.Errorf("%v\n%s", err, out)
	}
	out, err = run(t, []string{"./examples/ask"}, "-decoder", house(t).decoder.address, "none.png", "Read the title.")
	if err == nil || !strings.Contains(out, "none.png: no such file") {
		t.Errorf("%v\n%s", err, out)
	}
}
