package fovea_test

import (
	"context"
	"fmt"

	fovea "fovea.dev/go"
)

// The shortest caller. The whole program is in the package documentation.
func Example() {
	address, chart := fovea.DecoderOfTheTests(), fovea.ChartOfTheTests

	client := fovea.Dial(address)
	defer client.Close()
	answer, err := client.Ask(context.Background(), fovea.Question("Which bar is the tallest?", fovea.File(chart)))
	if err != nil {
		panic(err)
	}
	fmt.Println(answer.Text, answer.Receipt.Totals.VisualTokens)
	// Output: yellow 48
}

// The answer as it comes.
func ExampleClient_Stream() {
	address, chart := fovea.DecoderOfTheTests(), fovea.ChartOfTheTests

	client := fovea.Dial(address)
	defer client.Close()
	for event, err := range client.Stream(context.Background(), fovea.Question("Read the title.", fovea.File(chart))) {
		switch e := event.(type) {
		case fovea.Delta:
			fmt.Print(e.Text)
		case fovea.Finished:
			fmt.Println("", e.FinishReason, e.Receipt.Totals.VisualTokens)
		}
		if err != nil {
			panic(err)
		}
	}
	// Output: timber stop 48
}
