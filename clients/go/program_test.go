package fovea

import (
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
func run(t *testing.T, folder string, args ...string) (string, error) {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "program")
	if out, err := exec.Command("go", "build", "-o", binary, folder).CombinedOutput(); err != nil {
		t.Fatalf("%s", out)
	}
	out, err := exec.Command(binary, args...).CombinedOutput()
	return string(out), err
}

func TestTheShortestProgramRuns(t *testing.T) {
	code := strings.NewReplacer("127.0.0.1:50052", house(t).decoder.address, "chart.png", absolute(ChartOfTheTests)).
		Replace(program(t))
	folder, err := os.MkdirTemp(".", "program-") // inside the module, so that it finds the package
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(folder)
	if err := os.WriteFile(filepath.Join(folder, "main.go"), []byte(code), 0o644); err != nil {
		t.Fatal(err)
	}
	out, err := run(t, "./"+folder)
	if err != nil || !strings.HasPrefix(out, "yellow\n\nIMAGE") || !strings.Contains(out, "48 visual + 16 text in, 2 out") {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestTheExampleStreamsTheAnswerAndPrintsTheReceipt(t *testing.T) {
	out, err := run(t, "./examples/ask", "-decoder", house(t).decoder.address, ChartOfTheTests, "Read the title.")
	if err != nil || !strings.HasPrefix(out, "timber\n\nIMAGE") || !strings.Contains(out, "256x192") {
		t.Errorf("%v\n%s", err, out)
	}
	out, err = run(t, "./examples/ask", "-decoder", house(t).decoder.address, "none.png", "Read the title.")
	if err == nil || !strings.Contains(out, "none.png: no such file") {
		t.Errorf("%v\n%s", err, out)
	}
}
