// Package fovea asks a Fovea service about images, and tells what every answer cost.
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
// [Client] speaks to the decoder, which is the front door. A file is named by the SHA-256 of its bytes and is
// uploaded only where the service does not hold it, so the same picture travels once. [EncoderClient] speaks to
// one encoder: it is for those who look after its cache, or who feed visual rows to an engine of their own.
//
// Every failure of a call is an [*Error] with the service's own code, reason, field violations and retry advice.
// A local file that cannot be read is the error of package os.
//
// No protobuf type appears here; the messages are in the packages below fovea.dev/go/fovea.
package fovea
