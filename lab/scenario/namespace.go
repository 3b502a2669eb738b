package scenario

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"
)

// Scenarios with many source addresses run in a network namespace that has the loopback
// interface and nothing else, so that no packet can leave the host whatever address is in
// it. Every address of two ranges is local there, as "ip route add local … dev lo" makes
// them: a peer can come from any of them, and a listener on all addresses answers for any.

// ErrNoNamespace says that scenarios with many addresses don't run here.
var ErrNoNamespace = errors.New("this needs a network namespace with the loopback interface only (peer-observer lab namespace)")

// ranges are the addresses that are local in such a namespace: 1,024 and 4,096 groups of
// /16, routable for Bitcoin Core.
func ranges() []netip.Prefix {
	return []netip.Prefix{netip.MustParsePrefix("20.0.0.0/6"), netip.MustParsePrefix("80.0.0.0/4")}
}

// Sources is how many groups of /16 source can choose from.
const Sources = 1024

// source is an address in one of the groups of /16.
func source(group, host int) netip.Addr {
	group %= Sources
	return netip.AddrFrom4([4]byte{byte(20 + group>>8), byte(group), byte(host >> 8), byte(host)})
}

// remote is an address in a group of /16 that source never gives.
func remote(group, host int) netip.Addr {
	return netip.AddrFrom4([4]byte{byte(80 + group>>8&15), byte(group), byte(host >> 8), byte(host)})
}

// InNewNamespace has a command run in a network namespace of its own, without any address
// until it calls OpenNamespace. It needs the right to make one: root, or CAP_SYS_ADMIN.
func InNewNamespace(command *exec.Cmd) {
	if command.SysProcAttr == nil {
		command.SysProcAttr = new(syscall.SysProcAttr)
	}
	command.SysProcAttr.Cloneflags |= syscall.CLONE_NEWNET
}

// OpenNamespace switches the loopback interface on and makes the ranges local. It refuses
// a namespace with any other interface, as that of the host.
func OpenNamespace() error {
	if err := onlyLoopback(); err != nil {
		return err
	}
	if err := loopbackUp(); err != nil {
		return fmt.Errorf("switching the loopback interface on: %w", err)
	}
	for _, prefix := range ranges() {
		if err := addLocalRoute(prefix); err != nil {
			return fmt.Errorf("adding the local route %s: %w", prefix, err)
		}
	}
	return CheckNamespace()
}

// CheckNamespace is nil in a namespace that OpenNamespace has opened.
func CheckNamespace() error {
	if err := onlyLoopback(); err != nil {
		return err
	}
	for _, prefix := range ranges() {
		listener, err := net.Listen("tcp4", netip.AddrPortFrom(prefix.Addr().Next(), 0).String())
		if err != nil {
			return fmt.Errorf("%w: %s is not local: %w", ErrNoNamespace, prefix, err)
		}
		_ = listener.Close()
	}
	return nil
}

// onlyLoopback refuses a namespace that has a way out.
func onlyLoopback() error {
	interfaces, err := net.Interfaces()
	if err != nil {
		return err
	}
	for _, i := range interfaces {
		if i.Flags&net.FlagLoopback == 0 {
			return fmt.Errorf("%w: there is the interface %s", ErrNoNamespace, i.Name)
		}
	}
	return nil
}

func loopbackUp() error {
	socket, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(socket)
	request, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	request.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	return unix.IoctlIfreq(socket, unix.SIOCSIFFLAGS, request)
}

// addLocalRoute asks the kernel by rtnetlink(7) for a route of type local to lo.
func addLocalRoute(prefix netip.Prefix) error {
	lo, err := net.InterfaceByName("lo")
	if err != nil {
		return err
	}
	socket, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	defer unix.Close(socket)
	if err := unix.Sendto(socket, localRoute(prefix, uint32(lo.Index)), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return err
	}
	answer := make([]byte, 4096)
	n, _, err := unix.Recvfrom(socket, answer, 0)
	if err != nil {
		return err
	}
	// A header (16 bytes), then the error as a negative number, 0 for none.
	if n < unix.NLMSG_HDRLEN+4 || binary.NativeEndian.Uint16(answer[4:]) != unix.NLMSG_ERROR {
		return errors.New("the kernel's answer is not understood")
	}
	if number := int32(binary.NativeEndian.Uint32(answer[unix.NLMSG_HDRLEN:])); number != 0 {
		return syscall.Errno(-number)
	}
	return nil
}

// localRoute is the request of `ip route add local PREFIX dev lo`.
func localRoute(prefix netip.Prefix, index uint32) []byte {
	destination := prefix.Addr().As4()
	body := []byte{
		unix.AF_INET, byte(prefix.Bits()), 0, 0, // family, lengths of destination and source, TOS
		unix.RT_TABLE_LOCAL, unix.RTPROT_BOOT, unix.RT_SCOPE_HOST, unix.RTN_LOCAL,
		0, 0, 0, 0, // flags
	}
	body = appendAttribute(body, unix.RTA_DST, destination[:])
	body = appendAttribute(body, unix.RTA_OIF, binary.NativeEndian.AppendUint32(nil, index))
	message := binary.NativeEndian.AppendUint32(nil, uint32(unix.NLMSG_HDRLEN+len(body)))
	message = binary.NativeEndian.AppendUint16(message, unix.RTM_NEWROUTE)
	message = binary.NativeEndian.AppendUint16(message, unix.NLM_F_REQUEST|unix.NLM_F_ACK|unix.NLM_F_CREATE|unix.NLM_F_REPLACE)
	message = binary.NativeEndian.AppendUint32(message, 1) // sequence number
	message = binary.NativeEndian.AppendUint32(message, 0) // port id
	return append(message, body...)
}

func appendAttribute(message []byte, kind uint16, value []byte) []byte {
	message = binary.NativeEndian.AppendUint16(message, uint16(4+len(value)))
	message = binary.NativeEndian.AppendUint16(message, kind)
	return append(message, value...)
}
