// Command injector serves the mutating webhook that adds the Tidelay agent to
// the pods of TidbClusters that ask for it. Package webhook says what it does,
// "injector --help" how it is configured.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/pflag"
)

// version is set by the linker.
var version = "dev"

func main() {
	os.Exit(run(os.Args[1:], os.Getenv, os.Stdout, os.Stderr))
}

// run is main with its surroundings as arguments. It returns the exit status:
// 0 after a signal, 1 after a failure, 2 for a bad command line.
func run(args []string, getenv func(string) string, stdout, stderr io.Writer) int {
	o, err := parse(args, getenv)
	switch {
	case errors.Is(err, pflag.ErrHelp):
		_, _ = fmt.Fprint(stdout, usage())
		return 0
	case err != nil:
		_, _ = fmt.Fprintf(stderr, "injector: %v\n", err)
		return 2
	case o.version:
		_, _ = fmt.Fprintln(stdout, version)
		return 0
	}
	log := o.logger(stderr)
	signals, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	// The first signal drains, a second one ends the process at once.
	context.AfterFunc(signals, stop)
	if err := serve(signals, o); err != nil {
		log.Error(err, "injector failed")
		return 1
	}
	return 0
}

// serve runs the injector until signals ends. Then it keeps serving for a while
// with its readiness gone: the API server goes on using the connections it has,
// and a pod it cannot ask about is admitted without the agent.
func serve(signals context.Context, o options) error {
	var d drain
	mgr, err := newManager(o, &d)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(signals))
	defer stop()
	context.AfterFunc(signals, func() {
		mgr.GetLogger().Info("draining", "for", o.drain)
		d.begin()
		time.AfterFunc(o.drain, stop)
	})
	if err := mgr.Start(ctx); err != nil {
		return fmt.Errorf("run manager: %w", err)
	}
	return nil
}
