package netem

import (
	"fmt"
	"strings"

	"github.com/tidelay/tidelay/pkg/fault"
)

// tree writes the trees that are there.
func (p *planTest) tree() string {
	var out strings.Builder
	found, _ := p.k.read([]string{device}, true)
	d := found[device]
	for _, t := range d.trees() {
		if !t.ours() {
			fmt.Fprintf(&out, "%s: nothing of ours\n", t.attachPoint)
			continue
		}
		fmt.Fprintf(&out, "%s: root %t, clean band %t, claim %t\n", t.attachPoint, t.hasRoot, t.hasCleanBand, t.claimed)
		for _, band := range t.bands() {
			fmt.Fprintf(&out, "  netem %s %s\n", handleWord(t.netems[band].handle), t.netems[band].setting)
		}
		for f := range families {
			for _, b := range t.blocks[f] {
				fmt.Fprintf(&out, "  %s prio %d: %d filters\n", f, priority(b.index, f), len(b.filters))
			}
		}
	}
	fmt.Fprintf(&out, "%s: ingress qdisc %t, redirects ip %t, ipv6 %t\n", device, d.hook.present, d.hook.redirects[ipv4], d.hook.redirects[ipv6])
	return out.String()
}

// describe writes faults, each in a line.
func describe(faults []fault.Fault) string {
	var out string
	for _, f := range faults {
		out += fmt.Sprintf("found: %s %s %s\n", f.Name, f.Match.Direction, settingFor(f.Impairment, 0).impairment())
	}
	return out
}

func errorLine(err error) string {
	if err == nil {
		return ""
	}
	return "error: " + err.Error() + "\n"
}

// commandLines are changes as commands.
type commandLines struct {
	full bool
	out  strings.Builder
	// exempt are exemptions that were not written yet.
	exempt []addFilter
}

// add writes a change. Exemptions wait for the first change that is none.
func (c *commandLines) add(o op) {
	if f, ok := o.(addFilter); ok && !c.full && f.filter.band == bandClean && f.block != claimBlock {
		if len(c.exempt) > 0 && (c.exempt[0].block != f.block || c.exempt[0].family != f.family || c.exempt[0].link != f.link) {
			c.flush()
		}
		c.exempt = append(c.exempt, f)
		return
	}
	c.note(o.String())
}

func (c *commandLines) note(line string) {
	c.flush()
	c.out.WriteString(line + "\n")
}

// flush writes how many exemptions there were.
func (c *commandLines) flush() {
	if n := len(c.exempt); n > 0 {
		f := c.exempt[0]
		fmt.Fprintf(&c.out, "exemptions (%d): tc filter add dev %s parent %s protocol %s prio %d\n", n, f.link, handleWord(handleRoot), f.family, priority(f.block, f.family))
	}
	c.exempt = nil
}

func (c *commandLines) String() string {
	c.flush()
	if c.out.Len() == 0 {
		return "nothing to do\n"
	}
	return c.out.String()
}
