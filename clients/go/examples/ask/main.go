// Ask asks a question about one image, prints the answer as it comes, and then what it cost.
//
//	go run ./examples/ask [-decoder HOST:PORT] IMAGE QUESTION
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"

	fovea "fovea.dev/go"
)

func main() {
	decoder := flag.String("decoder", "127.0.0.1:50052", "where the decoder is")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "usage: ask [-decoder HOST:PORT] IMAGE QUESTION")
		flag.PrintDefaults()
	}
	flag.Parse()
	if flag.NArg() != 2 {
		flag.Usage()
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	client := fovea.Dial(*decoder)
	defer client.Close()
	if err := ask(ctx, client, flag.Arg(0), flag.Arg(1)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func ask(ctx context.Context, client *fovea.Client, image, question string) error {
	for event, err := range client.Stream(ctx, fovea.Question(question, fovea.File(image))) {
		switch e := event.(type) {
		case fovea.Delta:
			fmt.Print(e.Text)
		case fovea.Finished:
			fmt.Printf("\n\n%s", e.Receipt)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
