package agent

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/fault"
)

// Options is what an agent is started with, as the flags of cmd/agent give it.
type Options struct {
	// Listen is the address of the HTTP API, host:port or :port. Its port is
	// the control port that no fault touches.
	Listen string
	// Device names the interfaces whose packets meet faults, comma-separated, or
	// is "all" for all that are up and not loopback. Empty is the interfaces of the
	// default route, else the only one that is not loopback.
	Device string
	// Engine is "auto", "netem" or "nfqueue". A named engine is never replaced
	// by the other one.
	Engine string
	// StateDir is where the desired state is kept for the next agent; empty to
	// rely on the kernel alone.
	StateDir string
	// NodeIP has the node's IP addresses and ProbePorts the TCP ports that
	// kubelet probes, both comma-separated. If either is empty, probes are not
	// exempt.
	NodeIP, ProbePorts string
	// MaxDuration caps the duration of every fault, and is that of a fault that
	// names none; 0 for no cap, else from fault.MinDuration to fault.MaxDuration.
	MaxDuration time.Duration
	// QueueMemory is the memory for packets that wait in one fault's queue, in
	// bytes with a unit, "256Mi"; from 1Mi to 64Gi.
	QueueMemory string
	// TokenFile has the bearer token that every route but health then asks
	// for; empty for none. It is read at every request.
	TokenFile string
	// ReadOnly refuses every change.
	ReadOnly bool
	// Version is what /v1/status reports.
	Version string
}

// parsed is Options after validation.
type parsed struct {
	controlPort uint16
	nodeAddrs   []netip.Addr
	probePorts  []uint16
	queueMemory uint64
}

// parse reports every bad option at once, each with its flag, its value and
// what is accepted.
func (o Options) parse() (parsed, error) {
	var p parsed
	var errs []error
	_, port, err := net.SplitHostPort(o.Listen)
	if err == nil {
		p.controlPort, err = parsePort(port)
	}
	if err != nil {
		errs = append(errs, fmt.Errorf("--listen=%q: %w; want host:port or :port with a port from 1 to 65535", o.Listen, err))
	}
	if engines := []string{api.EngineAuto, api.EngineNetem, api.EngineNFQueue}; !slices.Contains(engines, o.Engine) {
		errs = append(errs, fmt.Errorf("--engine=%q: want one of %s", o.Engine, strings.Join(engines, ", ")))
	}
	for _, item := range list(o.NodeIP) {
		addr, err := netip.ParseAddr(item)
		if err != nil || addr.Zone() != "" {
			errs = append(errs, fmt.Errorf("--node-ip=%q: %q is no IP address; want comma-separated addresses, or nothing", o.NodeIP, item))
			continue
		}
		p.nodeAddrs = append(p.nodeAddrs, addr.Unmap())
	}
	for _, item := range list(o.ProbePorts) {
		port, err := parsePort(item)
		if err != nil {
			errs = append(errs, fmt.Errorf("--probe-ports=%q: %w; want comma-separated ports from 1 to 65535, or nothing", o.ProbePorts, err))
			continue
		}
		p.probePorts = append(p.probePorts, port)
	}
	slices.Sort(p.probePorts)
	p.probePorts = slices.Compact(p.probePorts)
	if o.MaxDuration != 0 && (o.MaxDuration < fault.MinDuration || o.MaxDuration > fault.MaxDuration) {
		errs = append(errs, fmt.Errorf("--max-duration=%s: want 0 for no cap, or from %s to %s", o.MaxDuration, fault.MinDuration, fault.MaxDuration))
	}
	if p.queueMemory, err = parseMemory(o.QueueMemory); err != nil {
		errs = append(errs, fmt.Errorf("--queue-memory=%q: %w", o.QueueMemory, err))
	}
	return p, errors.Join(errs...)
}

func parsePort(s string) (uint16, error) {
	port, err := strconv.ParseUint(s, 10, 16)
	if err != nil || port == 0 {
		return 0, fmt.Errorf("%q is no port", s)
	}
	return uint16(port), nil
}

var memoryPattern = regexp.MustCompile(`^([0-9]{1,9})(Ki|Mi|Gi)$`)

// parseMemory reads a number of bytes in Kubernetes' notation.
func parseMemory(s string) (uint64, error) {
	const least, most = 1 << 20, 64 << 30
	match := memoryPattern.FindStringSubmatch(s)
	if match == nil {
		return 0, errors.New(`want a whole number with the unit Ki, Mi or Gi ("256Mi"), from 1Mi to 64Gi`)
	}
	number, err := strconv.ParseUint(match[1], 10, 64)
	bytes := number << map[string]int{"Ki": 10, "Mi": 20, "Gi": 30}[match[2]]
	if err != nil || bytes < least || bytes > most {
		return 0, errors.New("want from 1Mi to 64Gi")
	}
	return bytes, nil
}

// list splits a comma-separated list; an empty string is an empty list.
func list(s string) []string {
	if strings.TrimSpace(s) == "" {
		return nil
	}
	items := strings.Split(s, ",")
	for i := range items {
		items[i] = strings.TrimSpace(items[i])
	}
	return items
}
