package plugin

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/apis/v1alpha1"
	"github.com/tidelay/tidelay/pkg/fault"
	"github.com/tidelay/tidelay/pkg/plugin/object"
)

// writing are the flags of every verb that writes an object.
type writing struct {
	dryRun  bool
	wait    bool
	timeout time.Duration
	output  string
	// byFields is whether messages name the fields of the object: no flags fill them in.
	byFields bool
}

func (w *writing) add(f *pflag.FlagSet, isTerminal bool) {
	f.BoolVar(&w.dryRun, "dry-run", false, "say what would be done, and do nothing")
	f.BoolVar(&w.wait, "wait", isTerminal, "wait until it is in force and measured; Ctrl-C takes it back (default true at a terminal)")
	f.DurationVar(&w.timeout, "timeout", 2*time.Minute, "how long to wait")
	f.StringVarP(&w.output, "output", "o", "", "print the object too: yaml, json or name")
	f.Lookup("wait").DefValue = "false" // else it is another one in a pipe
}

func (w *writing) check() error {
	if w.timeout <= 0 {
		return usage("--timeout %s: want more than 0s", w.timeout)
	}
	return checkOutput(w.output, "yaml", "json", "name")
}

func checkOutput(output string, right ...string) error {
	if output != "" && !slices.Contains(right, output) {
		return usage("--output %q%s", output, accepted(output, right))
	}
	return nil
}

// lasting are the flags of how long an object lasts, and of what it may break.
type lasting struct {
	name         string
	length       string
	untilDeleted bool
	allow        []string
}

func (l *lasting) add(f *pflag.FlagSet, length string) {
	f.StringVar(&l.name, "name", "", "name of the object (default made from what it is about)")
	f.StringVar(&l.length, "for", length, "how long it lasts, from now: 90s, 10m, 1h30m; from 1s to 720h")
	f.BoolVar(&l.untilDeleted, "until-deleted", false, "it lasts until it is cleared")
	f.StringSliceVar(&l.allow, "allow", nil, "rules of safety that it may break: "+strings.Join(allowances(), ", "))
}

// parse returns how long it lasts, "" for until it is deleted, and what it may break.
func (l *lasting) parse(flags *pflag.FlagSet) (v1alpha1.Duration, []v1alpha1.Allowance, error) {
	if wrong := validation.IsDNS1123Subdomain(l.name); flags.Changed("name") && len(wrong) > 0 {
		return "", nil, usage("--name %.80q: want at most %d characters, which are lowercase letters, digits, - and ., and at both ends and beside each . a letter or digit",
			l.name, validation.DNS1123SubdomainMaxLength)
	}
	allow, err := parseAllow(l.allow)
	if err != nil {
		return "", nil, err
	}
	if l.untilDeleted {
		if flags.Changed("for") {
			return "", nil, usage("--for %s with --until-deleted: want one of them", l.length)
		}
		return "", allow, nil
	}
	length, err := fault.ParseDuration(l.length)
	if err != nil {
		return "", nil, usage("--for %q: %w", l.length, err)
	}
	return v1alpha1.Duration(object.Short(length)), allow, nil
}

// allowances are the rules of safety that can be allowed to be broken.
func allowances() []string {
	return []string{
		string(v1alpha1.QuorumLoss), string(v1alpha1.Failover), string(v1alpha1.LongDelay),
		string(v1alpha1.UnhealthyStart), string(v1alpha1.Upgrade), string(v1alpha1.Partial),
	}
}

func parseAllow(words []string) ([]v1alpha1.Allowance, error) {
	var all []v1alpha1.Allowance
	for _, word := range words {
		i := slices.IndexFunc(allowances(), func(one string) bool { return strings.EqualFold(one, word) })
		if i < 0 {
			return nil, usage("--allow %q%s", word, accepted(word, allowances()))
		}
		if one := v1alpha1.Allowance(allowances()[i]); !slices.Contains(all, one) {
			all = append(all, one)
		}
	}
	return all, nil
}

// sides are the flags of which packets meet a fault.
type sides struct {
	from, to string
	oneWay   bool
	ports    []string
	protocol string
	seed     int64
}

func (s *sides) add(f *pflag.FlagSet) {
	f.StringVar(&s.from, "from", "", "pods on one side: tikv, pd(leader), tikv(random)@zone-a, all, pod/NAME; a comma for more")
	f.StringVar(&s.to, "to", "others", "pods on the other side, as --from; also others, cidr/10.0.0.0/8")
	f.BoolVar(&s.oneWay, "one-way", false, "only packets from --from to --to, and not those back")
	f.StringSliceVar(&s.ports, "ports", nil, "only connections to these ports of --to: 2379, 20160-20180")
	f.StringVar(&s.protocol, "protocol", "", "only tcp, udp or icmp")
	f.Int64Var(&s.seed, "seed", 0, "which pods random, minority, majority and half take")
}

// parse returns a spec with what the flags say.
func (s *sides) parse(cluster string) (v1alpha1.NetworkFaultSpec, error) {
	var none v1alpha1.NetworkFaultSpec
	if s.from == "" {
		return none, usage("--from is missing: want the pods on one side, such as --from tikv or --from 'pd(leader)'")
	}
	from, err := object.Side(s.from)
	if err != nil {
		return none, wrongSide("--from", err)
	}
	to, err := object.Side(s.to)
	if err != nil {
		return none, wrongSide("--to", err)
	}
	spec, err := s.packets(cluster)
	spec.From, spec.To = from, to
	return spec, err
}

// packets returns a spec with what the flags say but who is on which side.
func (s *sides) packets(cluster string) (v1alpha1.NetworkFaultSpec, error) {
	spec := v1alpha1.NetworkFaultSpec{Cluster: cluster, OneWay: s.oneWay, Protocol: s.protocol, Seed: s.seed}
	if s.seed < 0 {
		return spec, usage("--seed %d: want 0 or more", s.seed)
	}
	protocols := []string{fault.ProtocolTCP, fault.ProtocolUDP, fault.ProtocolICMP}
	if s.protocol != "" && !slices.Contains(protocols, s.protocol) {
		return spec, usage("--protocol %q%s", s.protocol, accepted(s.protocol, protocols))
	}
	for _, text := range s.ports {
		ports, err := api.ParsePortRange(text)
		if err != nil {
			return spec, usage("--ports: %w", err)
		}
		if one := intstr.FromInt32(int32(ports.First)); ports.First == ports.Last {
			spec.Ports = append(spec.Ports, one)
		} else {
			spec.Ports = append(spec.Ports, intstr.FromString(ports.String()))
		}
	}
	return spec, nil
}

// notEarly is what negative times are told.
const notEarly = "want a time above 0: packets can be made late, and not early"

// parseTime reads a time that is added to packets. flag is where it was written.
func parseTime(flag, text string) (v1alpha1.Delay, error) {
	if strings.HasPrefix(text, "-") {
		return "", usage("%s %s: %s", flag, text, notEarly)
	}
	d, err := fault.ParseDelay(text)
	if err != nil {
		return "", usage("%s %q: want a time with the unit us, ms or s, such as 500us, 1.5ms or 50ms, or a bare number of milliseconds, from 1us to 600s", flag, text)
	}
	if d == 0 {
		return "", usage("%s %s adds nothing: want a time above 0; kubectl tidelay clear ends a fault", flag, text)
	}
	return v1alpha1.Delay(fault.FormatDelay(d)), nil
}

// parsePercent reads a number of percents, with or without the sign.
func parsePercent(flag, text string) (v1alpha1.Percent, error) {
	number, err := strconv.ParseFloat(strings.TrimSuffix(text, "%"), 64)
	if err != nil {
		return 0, usage("%s %q: want a percentage such as 1 or 0.5%%", flag, text)
	}
	percent, err := fault.ParsePercent(number)
	if err != nil {
		return 0, usage("%s %q: %w", flag, text, err)
	}
	if percent == 0 {
		return 0, usage("%s %s loses nothing: want more than 0", flag, text)
	}
	return v1alpha1.Percent(percent.Float()), nil
}

// verb returns the command of a verb.
func verb(use, short, long string, args cobra.PositionalArgs) *cobra.Command {
	return &cobra.Command{Use: use, Short: short, Long: fmt.Sprintf("%s.\n\n%s", short, long), Args: args, DisableFlagsInUseLine: true}
}
