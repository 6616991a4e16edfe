// Command dockerfile reads a Dockerfile with BuildKit's own parser and linter, without a container engine or a registry.
//
// It prints the instructions by stage and every warning as JSON. Its status is 1 if BuildKit would refuse the file.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"github.com/moby/buildkit/client/llb"
	"github.com/moby/buildkit/client/llb/sourceresolver"
	"github.com/moby/buildkit/frontend/dockerfile/dockerfile2llb"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/opencontainers/go-digest"
)

type instruction struct {
	Word string `json:"word"`
	Rest string `json:"rest"`
}

type stage struct {
	Name         string        `json:"name"`
	Base         string        `json:"base"`
	Instructions []instruction `json:"instructions"`
}

type report struct {
	Stages   []stage  `json:"stages"`
	Warnings []string `json:"warnings"`
}

// unknownBase replaces the registry: every base image is a plain Linux image.
type unknownBase struct{}

func (unknownBase) ResolveImageConfig(
	_ context.Context, ref string, _ sourceresolver.Opt,
) (string, digest.Digest, []byte, error) {
	config := []byte(`{"architecture":"amd64","os":"linux","config":{"Env":["PATH=/usr/local/bin:/usr/bin:/bin"]}}`)
	return ref, digest.FromBytes(config), config, nil
}

func main() {
	if len(os.Args) != 2 {
		fail(fmt.Errorf("usage: dockerfile FILE"))
	}
	source, err := os.ReadFile(os.Args[1])
	if err != nil {
		fail(err)
	}
	stages, err := parse(source)
	if err != nil {
		fail(err)
	}
	warnings, err := lint(source)
	if err != nil {
		fail(err)
	}
	if err := json.NewEncoder(os.Stdout).Encode(report{stages, warnings}); err != nil {
		fail(err)
	}
}

func parse(source []byte) ([]stage, error) {
	file, err := parser.Parse(bytes.NewReader(source))
	if err != nil {
		return nil, err
	}
	parsed, _, err := instructions.Parse(file.AST, nil)
	if err != nil {
		return nil, err
	}
	var stages []stage
	for _, each := range parsed {
		commands := make([]instruction, 0, len(each.Commands))
		for _, command := range each.Commands {
			_, rest, _ := strings.Cut(fmt.Sprint(command), " ")
			commands = append(commands, instruction{strings.ToUpper(command.Name()), rest})
		}
		stages = append(stages, stage{each.Name, each.BaseName, commands})
	}
	return stages, nil
}

// lint gives the warnings of `docker build --check`, for every stage.
func lint(source []byte) ([]string, error) {
	sources := llb.NewSourceMap(nil, "Dockerfile", "dockerfile", source)
	sources.Definition = &llb.Definition{}
	results, err := dockerfile2llb.DockerfileLint(context.Background(), source, dockerfile2llb.ConvertOpt{
		MetaResolver: unknownBase{},
		SourceMap:    sources,
	})
	if err != nil {
		return nil, err
	}
	if results.Error != nil {
		return nil, fmt.Errorf("%s", results.Error.Message)
	}
	warnings := make([]string, 0, len(results.Warnings))
	for _, warning := range results.Warnings {
		warnings = append(warnings, fmt.Sprintf("%s: %s", warning.RuleName, warning.Detail))
	}
	return warnings, nil
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "dockerfile:", err)
	os.Exit(1)
}
