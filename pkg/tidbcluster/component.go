package tidbcluster

import (
	"fmt"
	"slices"
	"strings"
)

// Component is a part of a TidbCluster. Its value is what TiDB Operator appends
// to the TidbCluster's name to name the workload, and the value of the pods'
// label app.kubernetes.io/component (pkg/apis/label/label.go).
type Component string

// The components whose pods a TidbCluster owns.
const (
	Discovery  Component = "discovery"
	PD         Component = "pd"
	Pump       Component = "pump"
	Scheduling Component = "scheduling"
	TiCDC      Component = "ticdc"
	TiDB       Component = "tidb"
	TiFlash    Component = "tiflash"
	TiKV       Component = "tikv"
	TiProxy    Component = "tiproxy"
	TSO        Component = "tso"
)

// Components lists every Component once, in alphabetical order.
func Components() []Component {
	return []Component{Discovery, PD, Pump, Scheduling, TiCDC, TiDB, TiFlash, TiKV, TiProxy, TSO}
}

// ParseComponent returns the Component called name, which is lower case. The
// error names the accepted ones.
func ParseComponent(name string) (Component, error) {
	if c := Component(name); slices.Contains(Components(), c) {
		return c, nil
	}
	return "", fmt.Errorf("unknown component %.64q; accepted: %s", name, accepted())
}

func accepted() string {
	var names []string
	for _, c := range Components() {
		names = append(names, string(c))
	}
	return strings.Join(names, ", ")
}
