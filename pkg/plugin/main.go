package plugin

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"
)

// Exit statuses.
const (
	statusDone    = 0
	statusFailed  = 1
	statusUsage   = 2
	statusRefused = 3
)

// Surroundings are what the program has around it.
type Surroundings struct {
	genericiooptions.IOStreams
	Version string
	// IsTerminal is whether a person looks at what is printed, and NoColor whether that
	// person wants no colours.
	IsTerminal, NoColor bool
	// IsErrTerminal is whether a person looks at what is on standard error, such as progress.
	IsErrTerminal bool
	// Height is how many lines that terminal has now, 0 if that is not known; always 0 if it is
	// nil.
	Height func() int
	// Connect connects with the person's rights; Connect of this package if it is nil.
	Connect func(*genericclioptions.ConfigFlags) (*Connection, error)
	// Now is the time; time.Now if it is nil.
	Now func() time.Time
	// Poll is how often an object is looked at that is waited for; half a second if it is 0.
	Poll time.Duration
}

// Main runs the program. It returns the exit status: 0 if it is done, 1 if that failed, 2 for
// a command line that is not valid, 3 for what a rule of safety refuses. When ctx ends while a
// fault is waited for, what was changed is taken back.
func Main(ctx context.Context, s Surroundings, args []string) int {
	if s.Connect == nil {
		s.Connect = Connect
	}
	if s.Now == nil {
		s.Now = time.Now
	}
	if s.Poll == 0 {
		s.Poll = time.Second / 2
	}
	if s.Height == nil {
		s.Height = func() int { return 0 }
	}
	a := &app{Surroundings: s}
	root := newRoot(a) //nolint:contextcheck // a verb has the context of its command
	root.SetArgs(args)
	command, err := root.ExecuteContextC(ctx)
	if err == nil {
		return statusDone
	}
	_, _ = fmt.Fprintf(s.ErrOut, "error: %s\n", strings.TrimSpace(err.Error()))
	if limit := a.limitOf(err); limit != "" {
		_, _ = fmt.Fprintf(s.ErrOut, "An answer took longer than %s.\n", limit)
	}
	status := statusFailed
	if failed, is := errors.AsType[*failure](err); is {
		status = failed.status
	} else if command == root { // which does nothing that could fail: no verb has that name
		status = statusUsage
	}
	if status == statusUsage {
		_, _ = fmt.Fprintf(s.ErrOut, "See '%s --help'.\n", command.CommandPath())
	}
	return status
}

// failure is an error with an exit status.
type failure struct {
	status int
	error
}

func (f *failure) Unwrap() error { return f.error }

// usage returns the error of a command line that is not valid.
func usage(format string, args ...any) error {
	return &failure{statusUsage, fmt.Errorf(format, args...)}
}

// app is the program.
type app struct {
	Surroundings
	config *genericclioptions.ConfigFlags
}

// say tells a person something.
func (a *app) say(format string, args ...any) {
	_, _ = fmt.Fprintf(a.Out, format+"\n", args...)
}

// aside returns the program with its words on standard error, where something else is alone on
// the output.
func (a *app) aside() *app {
	words := *a
	words.Out, words.IsTerminal = a.ErrOut, a.IsErrTerminal
	return &words
}

// Good and Bad mark a text green or red where there are colours.
func (a *app) Good(text string) string { return a.paint("32", text) }

// Bad marks a text red where there are colours.
func (a *app) Bad(text string) string { return a.paint("31", text) }

func (a *app) paint(colour, text string) string {
	if !a.IsTerminal || a.NoColor {
		return text
	}
	return "\x1b[" + colour + "m" + text + "\x1b[0m"
}

// Command returns the command with all verbs, to look at: its documents are made from it.
func Command() *cobra.Command { return newRoot(&app{}) }

// newRoot returns the command with all verbs.
func newRoot(a *app) *cobra.Command {
	a.config = genericclioptions.NewConfigFlags(true)
	a.config.CacheDir = nil // nothing is cached
	root := &cobra.Command{
		Use:                   "tidelay VERB",
		DisableFlagsInUseLine: true,
		Short:                 "Make the network of TidbClusters slow, lossy or cut, for a while",
		Long: `Makes the network of TidbClusters slow, lossy or cut, on purpose and for a while.

  kubectl tidelay set basic 50ms --from tikv --to 'pd(leader)'
  kubectl tidelay topology basic --profile three-az --spread 3 --for 2h
  kubectl tidelay status basic
  kubectl tidelay matrix basic
  kubectl tidelay clear --all

With --dry-run the verbs that change something say what they would do, and do nothing.

Exit status: 0 done, 1 failed, 2 wrong usage, 3 refused by a rule of safety.`,
		SilenceErrors: true, SilenceUsage: true,
		Annotations: map[string]string{cobra.CommandDisplayNameAnnotation: "kubectl tidelay"},
		RunE:        func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	a.config.AddFlags(root.PersistentFlags())
	root.SetIn(a.In)
	root.SetOut(a.Out)
	root.SetErr(a.ErrOut)
	root.SetFlagErrorFunc(flagError)
	root.AddCommand(a.newSet(), a.newPartition(), a.newTopology(), a.newRun(), a.newClear(), a.newStatus(), a.newRoles(), a.newMatrix(),
		a.newExplain(), a.newPreview(), a.newAttach(), a.newCompletion(), a.newVersion())
	root.CompletionOptions.DisableDefaultCmd = true // ours says how kubectl completes
	a.completeGlobals(root)
	takeOnce(root)
	return root
}
