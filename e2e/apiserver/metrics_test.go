//go:build apiserver

package apiserver

import (
	"maps"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// decision is one label set of tidelay_admission_decisions_total.
type decision struct {
	reason, component string
}

// decisions scrapes how often the replica decided what.
func (r *replica) decisions(t *testing.T) map[decision]int {
	t.Helper()
	counts := map[decision]int{}
	for _, metric := range r.scrape(t, "tidelay_admission_decisions_total") {
		var d decision
		for _, label := range metric.GetLabel() {
			switch label.GetName() {
			case "reason":
				d.reason = label.GetValue()
			case "component":
				d.component = label.GetValue()
			default:
				t.Errorf("tidelay_admission_decisions_total has a label %q", label.GetName())
			}
		}
		counts[d] = int(metric.GetCounter().GetValue())
	}
	return counts
}

// liveReads scrapes how often the replica asked the API server about an owner.
func (r *replica) liveReads(t *testing.T) int {
	t.Helper()
	sum := 0.0
	for _, metric := range r.scrape(t, "tidelay_live_reads_total") {
		sum += metric.GetCounter().GetValue()
	}
	return int(sum)
}

// scrape returns the metrics of one name.
func (p *process) scrape(t *testing.T, name string) []*dto.Metric {
	t.Helper()
	text, err := get(t.Context(), "http://"+p.metrics+"/metrics")
	must(t, err)
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(text))
	must(t, err)
	return families[name].GetMetric()
}

// since returns what was decided between two scrapes.
func since(before, after map[decision]int) map[decision]int {
	grown := map[decision]int{}
	for d, count := range after {
		grown[d] = count - before[d]
	}
	maps.DeleteFunc(grown, func(_ decision, count int) bool { return count == 0 })
	return grown
}
