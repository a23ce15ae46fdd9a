package tidbcluster

import (
	"strings"
	"testing"
)

func TestParseComponent(t *testing.T) {
	for _, c := range Components() {
		if got, err := ParseComponent(string(c)); got != c || err != nil {
			t.Errorf("ParseComponent(%q) = %q, %v", c, got, err)
		}
	}
	for _, bad := range []string{"", "TiKV", " tikv", "monitor", "tikv,pd", strings.Repeat("x", 1000)} {
		_, err := ParseComponent(bad)
		if err == nil {
			t.Errorf("ParseComponent(%q) accepted", bad)
			continue
		}
		if message := err.Error(); !strings.Contains(message, "discovery, pd, pump, scheduling, ticdc, tidb, tiflash, tikv, tiproxy, tso") || len(message) > 250 {
			t.Errorf("ParseComponent(%q) says %q: want the accepted names, in short", bad, message)
		}
	}
}
