// Package fovea is a client of Fovea: it asks about images and returns answers with their cost.
//
// The shortest complete program:
//
//	package main
//
//	import (
//		"context"
//		"fmt"
//
//		fovea "fovea.dev/go"
//	)
//
//	func main() {
//		client := fovea.Dial("127.0.0.1:50052")
//		defer client.Close()
//		answer, err := client.Ask(context.Background(), fovea.Question("Which bar is the tallest?", fovea.File("chart.png")))
//		if err != nil {
//			panic(err)
//		}
//		fmt.Printf("%s\n\n%s", answer.Text, answer.Receipt)
//	}
//
// [Client] calls the decoder. A file is named by the SHA-256 of its bytes and is uploaded only if the service does
// not hold it, so the same picture is sent once. [EncoderClient] calls an encoder directly, to manage its store or
// to feed visual rows to an engine of your own.
//
// Every failed call returns an [*Error] with the service's code, reason, field violations and retry advice. A
// local file that cannot be read returns the error of package os.
//
// The API has no protobuf types; the messages are in the packages below fovea.dev/go/fovea.
package fovea
