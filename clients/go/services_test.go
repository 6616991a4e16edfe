package fovea

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
)

const (
	root    = "../.."
	model   = root + "/standin/model"
	samples = root + "/standin/samples"
	// ChartOfTheTests is a sample whose title is timber and whose tallest bar is yellow.
	ChartOfTheTests = samples + "/chart.png"
	// patience is a guard against hanging, not a measurement.
	patience = 10 * time.Minute
)

// scratch is removed after all tests; the services keep their stores and logs in it.
var scratch string

func TestMain(m *testing.M) {
	var err error
	if scratch, err = os.MkdirTemp("", "fovea-go-"); err != nil {
		panic(err)
	}
	code := m.Run()
	for _, s := range started {
		s.stop()
	}
	os.RemoveAll(scratch)
	os.Exit(code)
}

// started are all services that were ever started.
var started []*service

// A service is one process of a real service on a loopback port.
type service struct {
	module  string
	address string
	flags   []string
	log     string
	hold    io.Closer     // closing it ends the process
	ended   chan struct{} // closed once it has
}

// guard runs a command that ends with SIGTERM once our end of its standard input closes, so that no service
// outlives the tests, whatever ends them.
const guard = `exec 3<&0; "$@" 3<&- & pid=$!; { cat <&3 >/dev/null; kill $pid; } & wait $pid`

func newService(module, name string, flags ...string) *service {
	s := &service{module: module, address: freeAddress(), log: filepath.Join(scratch, name+".log")}
	common := []string{"--listen", s.address, "--metrics-listen", "", "--threads", "1", "--device", "cpu"}
	s.flags = append(common, flags...)
	s.start()
	started = append(started, s)
	return s
}

func (s *service) start() {
	child := exec.Command("sh", append([]string{"-c", guard, "sh", python(), "-m", s.module}, s.flags...)...)
	child.Dir = absolute(root)
	for _, entry := range os.Environ() {
		if !strings.HasPrefix(entry, "FOVEA_") {
			child.Env = append(child.Env, entry)
		}
	}
	log := must(os.OpenFile(s.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644))
	defer log.Close()
	child.Stdout, child.Stderr = log, log
	s.hold, s.ended = must(child.StdinPipe()), make(chan struct{})
	if err := child.Start(); err != nil {
		panic(err)
	}
	go func() {
		child.Wait()
		close(s.ended)
	}()
}

// python is the interpreter of the services.
func python() string {
	if chosen := os.Getenv("FOVEA_PYTHON"); chosen != "" {
		return chosen
	}
	return absolute(root + "/.venv/bin/python")
}

// stop lets the service drain.
func (s *service) stop() {
	s.hold.Close()
	<-s.ended
}

// ready waits until the service answers.
func (s *service) ready(t testing.TB) {
	t.Helper()
	if err := s.wait(); err != nil {
		t.Fatal(err)
	}
}

func (s *service) wait() error {
	for end := time.Now().Add(patience); !s.isReady(); time.Sleep(50 * time.Millisecond) {
		select {
		case <-s.ended:
			return fmt.Errorf("%s has ended: %s", s.module, s.lastWords())
		default:
		}
		if time.Now().After(end) {
			return fmt.Errorf("%s is not ready: %s", s.module, s.lastWords())
		}
	}
	return nil
}

func (s *service) lastWords() []byte {
	text, _ := os.ReadFile(s.log)
	return text[max(0, len(text)-2000):]
}

func (s *service) isReady() bool {
	conn := must(grpc.NewClient(s.address, grpc.WithTransportCredentials(insecure.NewCredentials())))
	defer conn.Close()
	check := &grpc_health_v1.HealthCheckRequest{Service: "readiness"}
	reply, err := grpc_health_v1.NewHealthClient(conn).Check(context.Background(), check)
	return err == nil && reply.Status == grpc_health_v1.HealthCheckResponse_SERVING
}

// serving waits until the service says that it serves, whether or not it is ready.
func (s *service) serving(t testing.TB) {
	t.Helper()
	client := Dial(s.address)
	defer client.Close()
	until(t, s.module+" serves", func() bool {
		info, err := client.Info(context.Background())
		return err == nil && info.State == StateServing
	})
}

// until asks again and again. The bound is a guard against hanging.
func until(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !holds(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("it never came about that %s", what)
		}
	}
}

// A pair is an encoder and a decoder that asks it.
type pair struct{ encoder, decoder *service }

var (
	startOnce            sync.Once
	answering, strangers pair
)

// house is the pair that answers, ready.
func house(t testing.TB) pair {
	t.Helper()
	if err := open(); err != nil {
		t.Fatal(err)
	}
	return answering
}

// DecoderOfTheTests is the address of the house's decoder, for examples.
func DecoderOfTheTests() string {
	if err := open(); err != nil {
		panic(err)
	}
	return answering.decoder.address
}

// open waits for the house. The first call starts both pairs, so that they load side by side.
func open() error {
	if _, err := exec.LookPath(python()); err != nil {
		return fmt.Errorf("these tests need the Python of the real services: run `make setup` or set FOVEA_PYTHON: %w", err)
	}
	startOnce.Do(func() {
		encoder := newService("encoder_svc", "encoder", "--model", absolute(model), "--cache-dir", scratch+"/store")
		decoder := newService("decoder_svc", "decoder", "--model", absolute(model), "--encoders", encoder.address,
			"--ledger-dir", scratch+"/ledger", "--max-context", "2048", "--prefix-cache", "false") // so that a second ask shows what the encoder has kept
		answering = pair{encoder, decoder}
		encoder = newService("encoder_svc", "strange-encoder", "--model", strangeModel(), "--cache-dir", scratch+"/strange",
			"--name", "stranger", "--max-queue", "1", "--uploads-bytes", fmt.Sprint(1<<20))
		decoder = newService("decoder_svc", "strange-decoder", "--model", absolute(model), "--encoders", encoder.address,
			"--ledger", "false", "--max-running", "1", "--max-waiting", "1")
		strangers = pair{encoder, decoder}
	})
	return errors.Join(answering.encoder.wait(), answering.decoder.wait())
}

// narrow is a decoder that has little room, whose encoder serves another model and has little room too.
func narrow(t testing.TB) pair {
	t.Helper()
	house(t)
	strangers.encoder.ready(t)
	strangers.decoder.serving(t) // never ready: no encoder serves its model
	return strangers
}

// strangeModel is the stand-in with another least size of an image: its rows have another fingerprint.
func strangeModel() string {
	folder := filepath.Join(scratch, "strange-model")
	if err := os.CopyFS(folder, os.DirFS(absolute(model))); err != nil {
		panic(err)
	}
	file := filepath.Join(folder, "preprocessor_config.json")
	text := strings.Replace(string(must(os.ReadFile(file))), `"shortest_edge": 4096`, `"shortest_edge": 65536`, 1)
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		panic(err)
	}
	return folder
}

func dialHouse(t testing.TB, options ...Option) *Client {
	t.Helper()
	client := Dial(house(t).decoder.address, append([]Option{WithTimeout(patience)}, options...)...)
	t.Cleanup(func() { client.Close() })
	return client
}

func dialHouseEncoder(t testing.TB, options ...Option) *EncoderClient {
	t.Helper()
	client := DialEncoder(house(t).encoder.address, append([]Option{WithTimeout(patience)}, options...)...)
	t.Cleanup(func() { client.Close() })
	return client
}

// forget removes an image from the house, whatever an earlier test has put there.
func forget(t testing.TB, file []byte) {
	t.Helper()
	if _, err := dialHouseEncoder(t).Delete(context.Background(), ID(file)); err != nil {
		t.Fatal(err)
	}
}

func freeAddress() string {
	listener := must(net.Listen("tcp", "127.0.0.1:0"))
	defer listener.Close()
	return listener.Addr().String()
}

func absolute(path string) string { return must(filepath.Abs(path)) }

func must[V any](value V, err error) V {
	if err != nil {
		panic(err)
	}
	return value
}
