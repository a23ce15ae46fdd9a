package report

import (
	"cmp"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"k8s.io/apimachinery/pkg/util/duration"

	"github.com/tidelay/tidelay/pkg/apis/v1alpha1"
	"github.com/tidelay/tidelay/pkg/networkfault/selector"
	"github.com/tidelay/tidelay/pkg/tidbcluster"
)

// columnGap is what is between columns, as kubectl has it.
const columnGap = 3

// storeWords says which store one is.
func storeWords(id uint64, store selector.StoreInfo) string {
	text := fmt.Sprintf("store %d", id)
	if store.Component == tidbcluster.TiKV {
		text += ", " + tidbcluster.Plural(int(store.Leaders), "leader")
	}
	if !store.Up {
		text += ", not up"
	}
	return text
}

// Style writes the words that should be seen first.
type Style interface {
	// Good and Bad return a text, marked or as it is.
	Good(text string) string
	Bad(text string) string
}

// Write writes a report for people.
func (r *Report) Write(w io.Writer, now time.Time, style Style) error {
	t := tabwriter.NewWriter(w, 0, 8, columnGap, ' ', 0)
	line := func(format string, args ...any) { _, _ = fmt.Fprintf(t, format+"\n", args...) }
	line("TidbCluster %s/%s", r.Namespace, r.Cluster)
	for _, text := range r.Unready {
		line("%s", style.Bad("unhealthy: "+text))
	}
	for _, text := range r.Problems {
		line("%s", style.Bad("problem: "+text))
	}
	for _, text := range r.Unseen {
		line("%s", text)
	}
	line("")
	r.pods(line)
	line("")
	r.objects(line, now)
	if err := t.Flush(); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return r.messages(w, style)
}

// WriteRoles writes who is what now.
func (r *Report) WriteRoles(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 8, columnGap, ' ', 0)
	_, _ = fmt.Fprintln(t, "POD\tCOMPONENT\tZONE\tROLE")
	for _, p := range r.Pods {
		_, _ = fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", p.Name, p.Component, dash(p.Zone), dash(p.Role))
	}
	for _, text := range r.Unseen {
		_, _ = fmt.Fprintln(t, text)
	}
	if err := t.Flush(); err != nil {
		return fmt.Errorf("write roles: %w", err)
	}
	return nil
}

func (r *Report) pods(line func(string, ...any)) {
	if len(r.Pods) == 0 {
		line("no pods")
		return
	}
	line("POD\tCOMPONENT\tZONE\tROLE\tREADY\tAGENT\tFAULTS")
	for _, p := range r.Pods {
		ready := "no"
		if p.Ready {
			ready = "yes"
		}
		holds := dash(strings.Join(p.Objects, ","))
		if r.isBlind {
			holds = "?"
		}
		line("%s\t%s\t%s\t%s\t%s\t%s\t%s", p.Name, p.Component, dash(p.Zone), dash(p.Role), ready, p.Agent, holds)
	}
}

func (r *Report) objects(line func(string, ...any), now time.Time) {
	if len(r.Objects) == 0 {
		line("no faults and no topology")
		return
	}
	line("NAME\tWHAT\tPHASE\tAPPLIED\tVERIFIED\tLEFT")
	for _, o := range r.Objects {
		line("%s\t%s\t%s\t%s\t%s\t%s", o.Name, dash(o.What), o.Phase, dash(o.Applied), dash(o.Verified), o.left(now))
	}
}

// left says how much time is left.
func (o *Object) left(now time.Time) string {
	switch {
	case o.Phase != v1alpha1.Running && o.Phase != v1alpha1.Paused:
		return "-"
	case o.untilDeleted:
		return "until deleted"
	case o.Ends == nil:
		return "-"
	default:
		return duration.HumanDuration(max(o.Ends.Sub(now), 0))
	}
}

// messages says what is not as it should be, and which pairs are not as asked for.
func (r *Report) messages(w io.Writer, style Style) error {
	var text strings.Builder
	for _, o := range r.Objects {
		if o.Message != "" {
			fmt.Fprintf(&text, "\n%s: %s\n", o.Name, style.Bad(strings.TrimPrefix(o.Reason+": "+o.Message, ": ")))
		}
	}
	if _, err := io.WriteString(w, text.String()); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return nil
}

func dash(text string) string { return cmp.Or(text, "-") }
