package report

import (
	"fmt"
	"io"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/util/duration"

	"github.com/tidelay/tidelay/pkg/plugin/table"
	"github.com/tidelay/tidelay/pkg/tidbcluster"
)

// Write writes a report for people: in one screen, or with all that is known if it is to be
// wide.
func (r *Report) Write(w io.Writer, now time.Time, isWide bool, style table.Style) error {
	return written(w, func(line table.Line) {
		line("TidbCluster %s/%s", r.Namespace, r.Cluster)
		r.head(line, now, style)
		line("")
		r.pods(line, isWide)
		r.objects(line, now)
		r.held(line, now, isWide)
		r.notes(line, style)
		r.messages(line, now, style)
	})
}

// WriteRoles writes who is what now.
func (r *Report) WriteRoles(w io.Writer) error {
	return written(w, func(line table.Line) {
		line("POD\tCOMPONENT\t%s\tROLE", r.zoneHead())
		for _, p := range r.Pods {
			line("%s\t%s\t%s\t%s", p.Name, p.Component, table.Dash(p.Zone), table.Dash(p.Role))
		}
		for _, text := range slices.Concat(r.Unseen, r.Unknown) {
			line("%s", text)
		}
	})
}

func written(w io.Writer, lines func(table.Line)) error {
	if err := table.Write(w, lines); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return nil
}

// head says what concerns all of the TidbCluster.
func (r *Report) head(line table.Line, now time.Time, style table.Style) {
	if text := r.agents(); text != "" {
		line("%s", text)
	}
	if r.NoController != nil {
		line("%s", style.Bad(fmt.Sprintf("problem: no controller has led for %s, so that what is in force ends by itself", duration.HumanDuration(now.Sub(r.NoController.Time)))))
	}
	if r.Protected {
		line("protected: it takes no fault, by its annotation %s", tidbcluster.ProtectAnnotation)
	}
	for _, text := range r.Unready {
		line("%s", style.Bad("unhealthy: "+text))
	}
	for _, text := range r.Problems {
		line("%s", style.Bad("problem: "+text))
	}
	for _, text := range slices.Concat(r.Unseen, r.Unknown) {
		line("%s", text)
	}
}

// zoneHead says whose zones are shown. Selectors such as tikv@a always mean those of nodes.
func (r *Report) zoneHead() string {
	if r.ZonesBy != "" {
		return "TOPOLOGY ZONE"
	}
	return "NODE ZONE"
}

func (r *Report) pods(line table.Line, isWide bool) {
	switch {
	case len(r.Pods) == 0 && r.isBlind:
		return
	case len(r.Pods) == 0:
		line("no pods")
		line("")
		return
	}
	line("POD\tCOMPONENT\t%s\tROLE\tREADY\tAGENT\tFAULTS", r.zoneHead())
	for i := range r.Pods {
		p := &r.Pods[i]
		ready := "no"
		if p.Ready {
			ready = "yes"
		}
		line("%s\t%s\t%s\t%s\t%s\t%s\t%s", p.Name, p.Component, table.Dash(p.Zone), table.Dash(p.Role), ready, p.Agent.words(isWide), p.holds(isWide, r.isBlind))
	}
	line("")
}

func (r *Report) objects(line table.Line, now time.Time) {
	switch {
	case len(r.Objects) == 0 && r.isVeiled:
		return
	case len(r.Objects) == 0:
		line("no faults and no topology")
		return
	}
	line("NAME\tWHAT\tPHASE\tAPPLIED\tVERIFIED\tLEFT")
	for _, o := range r.Objects {
		line("%s\t%s\t%s\t%s\t%s\t%s", o.Name, table.Dash(o.What), o.Phase, table.Dash(o.Applied), table.Dash(o.Verified), o.left(now))
	}
}

// messages says what is not as it should be of faults and topologies.
func (r *Report) messages(line table.Line, now time.Time, style table.Style) {
	for i := range r.Objects {
		if text := r.Objects[i].message(now); text != "" {
			line("")
			line("%s: %s", r.Objects[i].Name, style.Bad(text))
		}
	}
}
