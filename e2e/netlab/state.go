//go:build linux

package netlab

import (
	"os/exec"
	"strings"
	"testing"
)

// TrafficControl is what tc and ip show of the qdiscs, filters and links of the
// host. The interfaces are those whose filters are shown.
func (h *Host) TrafficControl(t testing.TB, devices ...string) string {
	t.Helper()
	script := []string{"qdisc show"}
	for _, device := range devices {
		script = append(script, "filter show dev "+device)
	}
	batch := exec.Command("tc", "-batch", "-") // one process, which costs much under User Mode Linux
	batch.Stdin = strings.NewReader(strings.Join(script, "\n"))
	shown, err := h.Run(batch)
	if err != nil {
		t.Fatal(err)
	}
	return shown + h.Exec(t, "ip -o -br link show")
}

// Ruleset is what nft shows of the host, without what counts.
func (h *Host) Ruleset(t testing.TB) string {
	t.Helper()
	return h.Exec(t, "nft --stateless list ruleset")
}
