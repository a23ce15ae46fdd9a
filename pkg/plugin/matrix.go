package plugin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tidelay/tidelay/pkg/plugin/agents"
	"github.com/tidelay/tidelay/pkg/plugin/look"
	"github.com/tidelay/tidelay/pkg/plugin/measured"
)

// mostPods is how many pods a table shows where nobody says by what it is to be.
const mostPods = 20

// matrixFlags are the flags of matrix.
type matrixFlags struct {
	by, output, file string
	timeout          time.Duration
	// out is the file; nil for the output.
	out *file
}

func matrixOutputs() []string { return []string{"table", "json", "yaml", "csv", "html"} }

// newMatrix returns the verb matrix.
func (a *app) newMatrix() *cobra.Command {
	f := &matrixFlags{}
	cmd := verb("matrix CLUSTER [flags]", "Measure the round trips between all pods of a TidbCluster",
		`The agents measure TCP handshakes to a port that the other pod listens on, each pair in both
directions. Beside what they measured is what faults and topologies in force add to it, and what
is out of tolerance is marked. Faults that somebody set at an agent by hand are told, and nothing is
said of the pairs of their pods. A pod without an agent measures nothing, and others measure to it.

By component and by zone it shows the longest round trip of the pairs, and the median. The CSV by
zone has whole round trips. topology --matrix adds them to those of the network. So measure where
the zones really are, with nothing in force, and use the file where the pods are near to each other.

  kubectl tidelay matrix basic
  kubectl tidelay matrix basic --by zone -o csv > zones.csv   # for topology --matrix
  kubectl tidelay matrix basic --file matrix.html             # a heat map, in one file

It needs the right to create pods/proxy.`, exactly(1, "CLUSTER"))
	cmd.Flags().StringVar(&f.by, "by", "", fmt.Sprintf("pod, component or zone (default pod; in a table of more than %d pods component)", mostPods))
	cmd.Flags().StringVarP(&f.output, "output", "o", "", "table, json, yaml, csv or html (default by the end of the name in --file, else table)")
	cmd.Flags().StringVar(&f.file, "file", "", "write to this file")
	cmd.Flags().DurationVar(&f.timeout, "timeout", 2*time.Minute, "how long to measure")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := f.check(); err != nil {
			return err
		}
		return a.matrix(cmd.Context(), args[0], f)
	}
	a.completeMatrix(cmd)
	return cmd
}

func (f *matrixFlags) check() error {
	if end := strings.TrimPrefix(filepath.Ext(f.file), "."); f.output == "" && slices.Contains(matrixOutputs(), end) {
		f.output = end
	}
	f.output = cmp.Or(f.output, "table")
	if err := checkOutput(f.output, matrixOutputs()...); err != nil {
		return err
	}
	if f.timeout <= 0 {
		return usage("--timeout %s: want more than 0s", f.timeout)
	}
	if f.by != "" && !slices.Contains(measured.Bys(), f.by) {
		return usage("--by %q%s", f.by, accepted(f.by, measured.Bys()))
	}
	if f.file != "" {
		var err error
		if f.out, err = fileAt(f.file); err != nil {
			return usage("--file %q: %w", f.file, err)
		}
	}
	return nil
}

// matrix measures and prints.
func (a *app) matrix(ctx context.Context, cluster string, f *matrixFlags) error {
	c, namespace, err := a.connect()
	if err != nil {
		return err
	}
	seen, err := a.look(ctx, c, types.NamespacedName{Namespace: namespace, Name: cluster})
	if err != nil {
		return err
	}
	m := measured.Of(seen, a.Now())
	if err := measurable(m, f.by); err != nil {
		return err
	}
	if err := a.measure(ctx, c.asker(measuredTime), seen, m, f.timeout); err != nil {
		return err
	}
	if m.Measured() > 0 {
		return a.printMatrix(m, f)
	}
	err = fmt.Errorf("nothing was measured: %s", m.Unknown()[0])
	if f.out == nil {
		return errors.Join(a.printMatrix(m, f), err)
	}
	return errors.Join(a.gridOf(m, f).Write(a.Out, a), fmt.Errorf("%w; nothing was written to %s", err, f.file))
}

// measurable returns why nothing can be measured, or not shown as asked.
func measurable(m *measured.Matrix, by string) error {
	hasAgent := func(p measured.Pod) bool { return p.HasAgent }
	switch {
	case len(m.Pods) == 0:
		text := fmt.Sprintf("TidbCluster %s has no pods", m.Cluster)
		return errors.New(strings.Join(append([]string{text}, m.Unseen...), "; "))
	case len(m.Pods) == 1:
		return fmt.Errorf("TidbCluster %s has one pod: nothing is between pods", m.Cluster)
	case !slices.ContainsFunc(m.Pods, hasAgent):
		return fmt.Errorf("no pod of TidbCluster %s has an agent, which would measure", m.Cluster)
	case by == string(measured.ByZone) && !m.HasZones():
		return errors.New("--by zone: the zone of no pod is known: no topology is in force, and the nodes that you may read have no label " + corev1.LabelTopologyZone)
	default:
		return nil
	}
}

// measure has the agents measure, for at most a while.
func (a *app) measure(ctx context.Context, asker agents.Asker, seen *look.Cluster, m *measured.Matrix, longest time.Duration) error {
	asker.AtOnce = maxAgents
	s := survey{asker: asker, poll: a.Poll, progress: func(int, int) {}, matrix: m}
	for _, p := range seen.Pods {
		if p.Facts.Agent {
			s.pods = append(s.pods, p.Pod)
		}
	}
	if a.IsErrTerminal {
		s.progress = func(done, all int) { _, _ = fmt.Fprintf(a.ErrOut, "\rmeasured %d of %d pairs", done, all) }
		defer func() { _, _ = fmt.Fprint(a.ErrOut, "\r\x1b[K") }()
	}
	limited, cancel := context.WithTimeout(ctx, longest)
	defer cancel()
	err := s.run(limited, fmt.Sprintf("not measured within %s", longest))
	if ctx.Err() != nil {
		return errInterrupted
	}
	return err
}
