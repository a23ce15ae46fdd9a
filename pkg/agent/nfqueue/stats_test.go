//go:build linux

package nfqueue

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseQueueStats(t *testing.T) {
	for name, c := range map[string]struct {
		text    string
		want    map[uint16]queueStats
		wantErr string
	}{
		"if nobody reads a queue, there is none": {want: map[uint16]queueStats{}},
		"the kernel's format": {
			text: " 2333  11488     0 0 65531     0     0        0  1\n" +
				" 2332  11488    58 1     0     3     4     1996  1\n",
			want: map[uint16]queueStats{2333: {}, 2332: {waiting: 58, dropped: 7}},
		},
		"another format": {text: "queue 1\n", wantErr: `read queue statistics "queue 1"`},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := parseQueueStats(strings.NewReader(c.text))
			if c.wantErr != "" {
				if err == nil || !strings.HasPrefix(err.Error(), c.wantErr) {
					t.Errorf("error %v, want %s", err, c.wantErr)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got, cmp.AllowUnexported(queueStats{})); diff != "" {
				t.Errorf("statistics (-want +got)\n%s", diff)
			}
		})
	}
}
