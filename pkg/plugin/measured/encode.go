package measured

import (
	"encoding/csv"
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"

	"github.com/tidelay/tidelay/pkg/networkfault/verify"
)

// Document is a grid as JSON. Times are in milliseconds, and null where there is none.
type Document struct {
	Namespace string    `json:"namespace"`
	Cluster   string    `json:"cluster"`
	Time      time.Time `json:"time"`
	By        By        `json:"by"`
	InForce   []Object  `json:"in_force"`
	Unseen    []string  `json:"unseen,omitempty"`
	// Pairs has each ordered pair of pods, if it is by pod.
	Pairs []PairRow `json:"pairs,omitempty"`
	// Groups has each ordered pair of components or zones, if it is by these.
	Groups []GroupRow `json:"groups,omitempty"`
}

// PairRow is an ordered pair of pods.
type PairRow struct {
	From string `json:"from"`
	To   string `json:"to"`
	// RTT is the median round trip, or the shortest if that is too short. Baseline is that to
	// the port of the peer's agent, which no fault touches.
	RTT      *float64 `json:"rtt_ms"`
	Baseline *float64 `json:"baseline_ms"`
	// Asked is what is added to the round trip; null if nothing is to arrive, or if it is not
	// known.
	Asked       *float64 `json:"asked_ms"`
	AskedSpread *float64 `json:"asked_spread_ms"`
	AskedCut    bool     `json:"asked_partition"`
	Port        uint16   `json:"tcp_port"`
	// Verdict is "in_tolerance", "out_of_tolerance" or "unknown", and Why says why it is not
	// the first.
	Verdict string `json:"verdict"`
	Why     string `json:"why,omitempty"`
}

// GroupRow is an ordered pair of components or zones.
type GroupRow struct {
	From     string `json:"from"`
	To       string `json:"to"`
	Pairs    int    `json:"pairs"`
	Answered int    `json:"answered"`
	// Longest and Median are of the pairs that answered.
	Longest *float64 `json:"longest_rtt_ms"`
	Median  *float64 `json:"median_rtt_ms"`
	// LeastAsked and MostAsked are added to a round trip, at the pairs without a partition.
	LeastAsked     *float64 `json:"least_asked_ms"`
	MostAsked      *float64 `json:"most_asked_ms"`
	AskedCut       int      `json:"asked_partitions"`
	OutOfTolerance int      `json:"out_of_tolerance"`
	Unknown        int      `json:"unknown"`
}

// Document returns a grid as JSON has it.
func (g *Grid) Document() Document {
	d := Document{Namespace: g.Namespace, Cluster: g.Cluster, Time: g.At, By: g.By, InForce: append([]Object{}, g.InForce...), Unseen: g.Unseen}
	if g.By == ByPod {
		for _, p := range g.Pairs {
			d.Pairs = append(d.Pairs, p.row())
		}
		return d
	}
	for i := range g.Cells {
		for j := range g.Cells[i] {
			if c := &g.Cells[i][j]; !c.IsEmpty() {
				d.Groups = append(d.Groups, c.row())
			}
		}
	}
	return d
}

// milliseconds returns a time in ms, rounded to whole microseconds; nil for 0.
func milliseconds(d time.Duration) *float64 {
	if d == 0 {
		return nil
	}
	return exactly(d)
}

func exactly(d time.Duration) *float64 { return new(float64(d.Round(time.Microsecond)) / 1e6) }

func (p *Pair) row() PairRow {
	rtt, baseline := p.RTT()
	r := PairRow{
		From: p.From, To: p.To, RTT: milliseconds(rtt), Baseline: milliseconds(baseline), Port: p.Port,
		AskedCut: p.Asked.Cut, Why: p.Why(),
	}
	if !p.Asked.Cut && !p.isBlind {
		r.Asked, r.AskedSpread = exactly(p.Asked.RTT), exactly(p.Asked.Spread)
	}
	switch p.Verdict() {
	case verify.Right:
		r.Verdict = "in_tolerance"
	case verify.Wrong:
		r.Verdict = "out_of_tolerance"
	default:
		r.Verdict = "unknown"
	}
	return r
}

func (c *Cell) row() GroupRow {
	answered := c.Answered()
	r := GroupRow{
		From: c.From, To: c.To, Pairs: len(c.Pairs), Answered: len(answered),
		OutOfTolerance: c.Count(verify.Wrong), Unknown: c.Count(verify.Unknown),
	}
	if n := len(answered); n > 0 {
		longest, _ := answered[n-1].RTT()
		r.Longest, r.Median = milliseconds(longest), c.median()
	}
	for _, p := range c.Pairs {
		asked := exactly(p.Asked.RTT)
		switch {
		case p.isBlind:
		case p.Asked.Cut:
			r.AskedCut++
		case r.MostAsked == nil:
			r.LeastAsked, r.MostAsked = asked, asked
		default:
			r.LeastAsked, r.MostAsked = new(min(*asked, *r.LeastAsked)), new(max(*asked, *r.MostAsked))
		}
	}
	return r
}

// median returns the median of the pairs that answered, in ms; nil if none did.
func (c *Cell) median() *float64 {
	answered := c.Answered()
	if len(answered) == 0 {
		return nil
	}
	rtt, _ := answered[(len(answered)-1)/2].RTT()
	return milliseconds(rtt)
}

// WriteCSV writes a grid as CSV with a header. By pod and by component it has a row for each
// ordered pair. By zone it has one for each pair of zones, either way, as "topology --matrix"
// reads it.
func (g *Grid) WriteCSV(w io.Writer) error {
	var rows [][]string
	switch d := g.Document(); g.By {
	case ByPod:
		rows = append(rows, []string{"from", "to", "rtt_ms", "baseline_ms", "asked_ms", "asked_spread_ms", "asked_partition", "tcp_port", "verdict", "why"})
		for _, r := range d.Pairs {
			rows = append(rows, []string{
				r.From, r.To, text(r.RTT), text(r.Baseline), text(r.Asked), text(r.AskedSpread),
				strconv.FormatBool(r.AskedCut), strconv.Itoa(int(r.Port)), r.Verdict, r.Why,
			})
		}
	case ByComponent:
		rows = append(rows, []string{"from", "to", "pairs", "answered", "longest_rtt_ms", "median_rtt_ms", "least_asked_ms", "most_asked_ms", "asked_partitions", "out_of_tolerance", "unknown"})
		for _, r := range d.Groups {
			rows = append(rows, []string{
				r.From, r.To, strconv.Itoa(r.Pairs), strconv.Itoa(r.Answered), text(r.Longest), text(r.Median), text(r.LeastAsked), text(r.MostAsked),
				strconv.Itoa(r.AskedCut), strconv.Itoa(r.OutOfTolerance), strconv.Itoa(r.Unknown),
			})
		}
	case ByZone:
		return g.writeZones(w)
	}
	if err := csv.NewWriter(w).WriteAll(rows); err != nil {
		return fmt.Errorf("write CSV: %w", err)
	}
	return nil
}

// writeZones writes the medians between zones, either way. What is not for "topology --matrix"
// is in comments.
func (g *Grid) writeZones(w io.Writer) error {
	comments := []string{
		fmt.Sprintf("TidbCluster %s/%s, %s: medians of the pairs of pods, either way", g.Namespace, g.Cluster, g.At.UTC().Format(time.RFC3339)),
		"whole round trips, with the network's own and what was in force: topology --matrix adds all of that to the network's own",
	}
	rows := [][]string{{"from", "to", "rtt_ms"}}
	for i, from := range g.Groups {
		for j, to := range g.Groups[i:] {
			both := Cell{Pairs: g.Cells[i][i+j].Pairs}
			if j > 0 {
				both.Pairs = slices.Concat(both.Pairs, g.Cells[i+j][i].Pairs)
			}
			switch rtt := both.median(); {
			case from.Name == noZone || to.Name == noZone:
				comments = append(comments, fmt.Sprintf("%s to %s: left out", from.Name, to.Name))
			case rtt != nil:
				rows = append(rows, []string{from.Name, to.Name, text(rtt)})
			case len(both.Pairs) > 0:
				comments = append(comments, fmt.Sprintf("%s to %s: no answer", from.Name, to.Name))
			}
		}
	}
	for _, comment := range comments {
		if _, err := fmt.Fprintf(w, "# %s\n", comment); err != nil {
			return fmt.Errorf("write CSV: %w", err)
		}
	}
	if err := csv.NewWriter(w).WriteAll(rows); err != nil {
		return fmt.Errorf("write CSV: %w", err)
	}
	return nil
}

// text returns a number as CSV has it; "" for none.
func text(ms *float64) string {
	if ms == nil {
		return ""
	}
	return strconv.FormatFloat(*ms, 'f', -1, 64)
}
