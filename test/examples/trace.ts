import { ask, UsageError } from 'etrn'

try {
  const { error, names } = await ask('mail.isp.example', process.argv.slice(2), {
    onResult: ({ name, outcome }) => console.log(name, outcome),
    trace: (event, session) => {
      if (event.type === 'sent') console.log(`session ${session}: ${event.line}`)
    },
  })
  const isAccepted = names.every(({ outcome }) => ['started', 'empty', 'pending'].includes(outcome))
  const isTemporary = error?.exitStatus === 75 || names.some(({ outcome }) => outcome === 'deferred')
  console.log(isAccepted ? 'accepted' : isTemporary ? 'try again later' : (error?.message ?? 'ask your provider'))
} catch (error) {
  if (!(error instanceof UsageError)) throw error
  console.log(`nothing was sent: ${error.message}`)
}
