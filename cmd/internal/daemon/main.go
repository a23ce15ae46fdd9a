// Package daemon has what the injector and the controller have in common as
// programs: their command line, logging, connection to the API server, manager and
// health endpoint.
package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/signal"
	"syscall"

	"github.com/spf13/pflag"
	"golang.org/x/sync/errgroup"
)

// Program is a program with its command line.
type Program interface {
	// Flags returns the flag set that fills the program's options.
	Flags(getenv func(string) string) *pflag.FlagSet
	// Validate returns an error with every flag that is not valid, its value and
	// what is accepted.
	Validate() error
	// Common returns the options that all programs have.
	Common() *Options
	// Run runs the program until signals ends, which a signal does, and tells health
	// when it is ready.
	Run(signals context.Context, health *Health) error
}

// Main runs a program, with its surroundings as arguments. It returns the exit
// status: 0 after a signal, 1 after a failure, 2 for a command line that is not
// valid.
func Main(name, version string, p Program, args []string, getenv func(string) string, stdout, stderr io.Writer) int {
	err := Parse(p, args, getenv)
	switch {
	case errors.Is(err, pflag.ErrHelp):
		// Without the environment, so that everybody is shown the same defaults.
		defaults := p.Flags(func(string) string { return "" })
		_, _ = fmt.Fprintf(stdout, "Usage: %s --agent-image=IMAGE [flags]\n\n%s", name, defaults.FlagUsages())
		return 0
	case err != nil:
		_, _ = fmt.Fprintf(stderr, "%s: %v\n", name, err)
		return 2
	case p.Common().Version:
		_, _ = fmt.Fprintln(stdout, version)
		return 0
	}
	log := p.Common().setLogger(stderr)
	signals, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	// After the first signal the handler is removed, so that a second signal ends
	// the process at once.
	context.AfterFunc(signals, stop)
	if err := serve(signals, p, NewHealth(log)); err != nil {
		log.Error(err, name+" failed")
		return 1
	}
	return 0
}

// serve runs a program, and its health endpoint for as long as that takes, the drain
// included.
func serve(signals context.Context, p Program, health *Health) error {
	group, ctx := errgroup.WithContext(signals)
	running, end := context.WithCancel(context.WithoutCancel(signals))
	group.Go(func() error { return health.Serve(running, p.Common().HealthAddr) })
	group.Go(func() error {
		defer end()
		err := p.Run(ctx, health)
		if signals.Err() != nil && errors.Is(err, context.Canceled) {
			return nil // the signal came while the program waited for something
		}
		return err
	})
	return group.Wait()
}

// Parse reads and checks the command line. The error is pflag.ErrHelp if help was
// asked for. Otherwise it names every flag that is not valid, its value and what is
// accepted.
func Parse(p Program, args []string, getenv func(string) string) error {
	flags := p.Flags(getenv)
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q: want flags only", flags.Arg(0))
	}
	if p.Common().Version {
		return nil
	}
	return p.Validate()
}
