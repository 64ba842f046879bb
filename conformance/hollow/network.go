package main

import (
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

const bridgeName = "pods"

// network is the wiring between Pods: a bridge whose first address is the node's own, and one pair of
// interfaces for each Pod. Loopback addresses would be simpler and are of no use: the API server refuses them
// as endpoints.
type network struct {
	pods   netip.Prefix
	node   netip.Addr
	bridge netlink.Link

	mutex sync.Mutex
	last  netip.Addr
	links int
	taken map[netip.Addr]bool
}

func newNetwork(pods, local netip.Prefix) (*network, error) {
	pods = pods.Masked()
	n := &network{pods: pods, node: pods.Addr().Next(), taken: map[netip.Addr]bool{}}
	n.last = n.node
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return nil, err
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		return nil, err
	}
	// A route of type local makes every address of the range one's own, without adding them one by one.
	own := &netlink.Route{LinkIndex: lo.Attrs().Index, Dst: ipNet(local.Masked()), Type: unix.RTN_LOCAL,
		Table: unix.RT_TABLE_LOCAL, Scope: netlink.SCOPE_HOST}
	if err := netlink.RouteReplace(own); err != nil {
		return nil, fmt.Errorf("addresses %s on lo: %w", local, err)
	}
	attributes := netlink.NewLinkAttrs()
	attributes.Name = bridgeName
	n.bridge = &netlink.Bridge{LinkAttrs: attributes}
	if err := netlink.LinkAdd(n.bridge); err != nil {
		return nil, fmt.Errorf("a bridge for Pods: %w", err)
	}
	if err := netlink.AddrAdd(n.bridge, addressOf(n.node, pods)); err != nil {
		return nil, err
	}
	return n, netlink.LinkSetUp(n.bridge)
}

// take returns an address that no Pod has, and none had lately.
func (n *network) take() (netip.Addr, error) {
	n.mutex.Lock()
	defer n.mutex.Unlock()
	for range 1 << 16 {
		n.last = n.last.Next()
		if !n.pods.Contains(n.last) {
			n.last = n.node.Next()
		}
		if bytes := n.last.As4(); bytes[3] != 0 && bytes[3] != 255 && !n.taken[n.last] {
			n.taken[n.last] = true
			return n.last, nil
		}
	}
	return netip.Addr{}, fmt.Errorf("no address of %s is free", n.pods)
}

func (n *network) giveBack(address netip.Addr) {
	n.mutex.Lock()
	defer n.mutex.Unlock()
	delete(n.taken, address)
}

// sandbox is what the containers of one Pod share: a process that holds the network and host name, and does
// nothing.
type sandbox struct {
	process *exec.Cmd
	end     func() error
}

// sandboxTask is what a sandbox is told on its standard input.
type sandboxTask struct {
	Link, HostName, Address, Gateway string
	Bits                             int
}

func (n *network) newSandbox(hostName string, address netip.Addr) (*sandbox, error) {
	n.mutex.Lock()
	n.links++
	outer, inner := fmt.Sprintf("pod%d", n.links), fmt.Sprintf("in%d", n.links)
	n.mutex.Unlock()

	process := exec.Command("/proc/self/exe")
	process.Args = []string{asSandbox}
	process.Stderr = os.Stderr
	process.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWUTS}
	input, err := process.StdinPipe()
	if err != nil {
		return nil, err
	}
	output, err := process.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := process.Start(); err != nil {
		return nil, err
	}
	s := &sandbox{process: process, end: input.Close}
	attributes := netlink.NewLinkAttrs()
	attributes.Name = outer
	attributes.MasterIndex = n.bridge.Attrs().Index
	pair := &netlink.Veth{LinkAttrs: attributes, PeerName: inner, PeerNamespace: netlink.NsPid(process.Process.Pid)}
	if err := netlink.LinkAdd(pair); err != nil {
		s.close()
		return nil, fmt.Errorf("a pair of interfaces: %w", err)
	}
	if err := netlink.LinkSetUp(pair); err != nil {
		s.close()
		return nil, err
	}
	task := sandboxTask{Link: inner, HostName: hostName, Address: address.String(), Gateway: n.node.String(),
		Bits: n.pods.Bits()}
	if err := json.NewEncoder(input).Encode(task); err != nil {
		s.close()
		return nil, err
	}
	if _, err := output.Read(make([]byte, 1)); err != nil {
		s.close()
		return nil, fmt.Errorf("the sandbox did not come up: %w", err)
	}
	return s, nil
}

// close lets the namespaces go; the interfaces go with them.
func (s *sandbox) close() {
	_ = s.end()
	_ = s.process.Wait()
}

func sandboxMain() error {
	// Its parent's standard input is what it lives by: its end is the sandbox's.
	input := json.NewDecoder(os.Stdin)
	var task sandboxTask
	if err := input.Decode(&task); err != nil {
		return err
	}
	if err := unix.Sethostname([]byte(task.HostName)); err != nil {
		return err
	}
	pods := netip.PrefixFrom(netip.MustParseAddr(task.Address), task.Bits)
	for _, name := range []string{"lo", task.Link} {
		link, err := netlink.LinkByName(name)
		if err != nil {
			return err
		}
		if name != "lo" {
			if err := netlink.AddrAdd(link, addressOf(pods.Addr(), pods)); err != nil {
				return err
			}
		}
		if err := netlink.LinkSetUp(link); err != nil {
			return err
		}
	}
	if err := netlink.RouteAdd(&netlink.Route{Gw: net.ParseIP(task.Gateway)}); err != nil {
		return err
	}
	if _, err := os.Stdout.Write([]byte{'\n'}); err != nil {
		return err
	}
	_ = input.Decode(&struct{}{})
	return nil
}

// join puts the calling thread, which must be locked, into the network and host name of another process.
func join(pid int) error {
	runtime.LockOSThread()
	for _, kind := range []string{"net", "uts"} {
		file, err := os.Open(fmt.Sprintf("/proc/%d/ns/%s", pid, kind))
		if err != nil {
			return err
		}
		err = unix.Setns(int(file.Fd()), 0)
		_ = file.Close()
		if err != nil {
			return fmt.Errorf("joining the Pod's %s namespace: %w", kind, err)
		}
	}
	return nil
}

func ipNet(prefix netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: prefix.Addr().AsSlice(), Mask: net.CIDRMask(prefix.Bits(), prefix.Addr().BitLen())}
}

func addressOf(address netip.Addr, prefix netip.Prefix) *netlink.Addr {
	return &netlink.Addr{IPNet: &net.IPNet{IP: address.AsSlice(), Mask: ipNet(prefix).Mask}}
}
