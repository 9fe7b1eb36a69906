/** What the commands that change the members wait for and show. */
import type { MembershipReply, MembershipWait } from '../../client/index.ts';
import type { Output } from '../output.ts';

export function waitOf(values: { readonly within: number | undefined }, output: Output): MembershipWait {
  return {
    withinMs: values.within,
    onProgress: (line) => {
      output.progress(line);
    },
  };
}

export function showMembership(output: Output, reply: MembershipReply, what: string): void {
  const { memberId, changed, members } = reply;
  const document = { memberId, changed, members, configurationIndex: reply.configurationIndex };
  output.result(document, () => {
    const ids = members.map((member) => member.memberId).join(', ');
    return `member ${memberId} ${what}${changed ? '' : ' already'}; members: ${ids}`;
  });
}
